//! The tree that ND2 metadata is made of, whichever way it was written (CLX-lite or XML).

use crate::formats::{FormatError, Limits};

/// One typed value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    Int32(i32),
    Uint32(u32),
    Int64(i64),
    Uint64(u64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Level(Level),
}

/// Named values in the order of the file; the items of a list have empty names.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Level(pub(crate) Vec<(String, Value)>);

impl Value {
    /// The value as a number, whatever numeric type the writer chose.
    pub(crate) fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::Bool(value) => Some(f64::from(u8::from(value))),
            Self::Int32(value) => Some(value.into()),
            Self::Uint32(value) => Some(value.into()),
            Self::Int64(value) => Some(value as f64),
            Self::Uint64(value) => Some(value as f64),
            Self::Float(value) => Some(value),
            Self::Text(_) | Self::Bytes(_) | Self::Level(_) => None,
        }
    }

    /// The value as a count: whole and not negative.
    pub(crate) fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::Bool(value) => Some(value.into()),
            Self::Int32(value) => value.try_into().ok(),
            Self::Uint32(value) => Some(value.into()),
            Self::Int64(value) => value.try_into().ok(),
            Self::Uint64(value) => Some(value),
            Self::Float(value) => {
                (value >= 0.0 && value.fract() == 0.0 && value < 9e15).then_some(value as u64)
            }
            Self::Text(_) | Self::Bytes(_) | Self::Level(_) => None,
        }
    }
}

impl Level {
    /// The first value of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// The level of that name.
    pub(crate) fn level(&self, name: &str) -> Option<&Level> {
        match self.get(name)? {
            Value::Level(level) => Some(level),
            _ => None,
        }
    }

    /// The finite number of that name.
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.get(name)?.as_f64().filter(|value| value.is_finite())
    }

    /// The number of that name if it is above zero.
    pub(crate) fn positive(&self, name: &str) -> Option<f64> {
        self.number(name).filter(|value| *value > 0.0)
    }

    /// The count of that name.
    pub(crate) fn count(&self, name: &str) -> Option<u64> {
        self.get(name)?.as_u64()
    }

    /// The truth value of that name.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.get(name)?.as_f64().map(|value| value != 0.0)
    }

    /// The text of that name, without blanks around it, unless nothing is left.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Value::Text(text) => Some(text.trim()).filter(|text| !text.is_empty()),
            _ => None,
        }
    }

    /// The levels among the children, in order.
    pub(crate) fn levels(&self) -> impl Iterator<Item = &Level> {
        self.0.iter().filter_map(|(_, value)| match value {
            Value::Level(level) => Some(level),
            _ => None,
        })
    }

    /// The level inside a wrapper: the child of that name (version 3), or a single unnamed child (version 2).
    pub(crate) fn unwrapped(&self, name: &str) -> &Level {
        match self.0.as_slice() {
            [(own, Value::Level(inner))] if own == name || own.is_empty() => inner,
            _ => self,
        }
    }

    /// As [`Self::unwrapped`], by value.
    pub(crate) fn into_unwrapped(mut self, name: &str) -> Level {
        match self.0.as_slice() {
            [(own, Value::Level(_))] if own == name || own.is_empty() => match self.0.pop() {
                Some((_, Value::Level(inner))) => inner,
                _ => Self::default(),
            },
            _ => self,
        }
    }

    /// Adds a value; for building.
    #[must_use]
    pub(crate) fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.push((name.into(), value.into()));
        self
    }
}

impl FromIterator<(String, Value)> for Level {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(items: I) -> Self {
        Self(items.into_iter().collect())
    }
}

/// `From` for each variant that a builder writes.
macro_rules! value_from {
    ($($source:ty => $variant:ident),*) => {
        $(impl From<$source> for Value {
            fn from(value: $source) -> Self {
                Self::$variant(value)
            }
        })*
    };
}

value_from!(bool => Bool, i32 => Int32, u32 => Uint32, i64 => Int64, u64 => Uint64, f64 => Float, String => Text, Level => Level);

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

/// How much of a tree may still be built: a small block must not grow into a large tree, nor nest without end.
#[derive(Debug)]
pub(crate) struct TreeBudget {
    depth_max: u32,
    n_items_left: u64,
}

/// Bytes of `Limits::metadata_bytes_max` that one item of a tree is reckoned at.
const BYTES_PER_ITEM: u64 = 64;

impl TreeBudget {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { depth_max: limits.depth_max, n_items_left: limits.metadata_bytes_max / BYTES_PER_ITEM }
    }

    /// Accounts for one item at the given depth.
    pub(crate) fn take_item(&mut self, depth: u32) -> Result<(), FormatError> {
        if depth > self.depth_max {
            let message = format!("metadata nests deeper than the limit of {} levels", self.depth_max);
            return Err(FormatError::over_limit(message));
        }
        let left = self.n_items_left.checked_sub(1);
        self.n_items_left = left.ok_or_else(|| {
            FormatError::over_limit("metadata holds more items than its limit in bytes allows")
        })?;
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Trees that both encodings can hold.
    pub(crate) fn any_level() -> impl Strategy<Value = Level> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::Bool),
            any::<i32>().prop_map(Value::Int32),
            any::<u32>().prop_map(Value::Uint32),
            any::<i64>().prop_map(Value::Int64),
            any::<u64>().prop_map(Value::Uint64),
            (-1e300..1e300).prop_map(Value::Float),
            "[ -~äλ中\u{1F52C}\n\r]{0,12}".prop_map(Value::Text),
            prop::collection::vec(any::<u8>(), 0..9).prop_map(Value::Bytes),
        ];
        let level_of =
            |value: BoxedStrategy<Value>| prop::collection::vec(("[a-z]{0,9}", value), 0..6).prop_map(Level);
        let value = leaf.prop_recursive(4, 40, 6, move |inner| level_of(inner).prop_map(Value::Level));
        level_of(value.boxed())
    }

    #[test]
    fn numbers_are_read_whatever_their_type() {
        let level = Level::default()
            .with("i", -3)
            .with("u", 3_u32)
            .with("f", 2.5)
            .with("nan", f64::NAN)
            .with("t", "4");
        let numbers = ["i", "u", "f", "nan", "t"].map(|name| level.number(name));
        assert_eq!(numbers, [Some(-3.0), Some(3.0), Some(2.5), None, None]);
        assert_eq!(
            ["i", "u", "f", "nan", "t"].map(|name| level.count(name)),
            [None, Some(3), None, None, None]
        );
        assert_eq!(level.positive("i"), None);
    }
}
