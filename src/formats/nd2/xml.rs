//! The XML metadata of ND2 version 2, read into the same tree as CLX-lite.
//!
//! `<variant><no_name runtype="CLxListVariant"><uiWidth runtype="lx_uint32" value="65"/>...`: an element is a typed
//! value or, when its type is a list or absent, a level; `no_name` stands for an item without a name. Some files
//! hold invalid UTF-8, which becomes the replacement character.

use quick_xml::Reader;
use quick_xml::escape::{escape, unescape};
use quick_xml::events::{BytesStart, Event};

use super::value::{Level, TreeBudget, Value};
use crate::formats::{FormatError, Limits};

const UNNAMED: &str = "no_name";

/// Reads the text of a chunk; the outermost `variant` element is the level that is given back.
///
/// # Errors
/// `malformed` when the text is not XML of this kind, `over_limit` when it nests too deep or holds too many items.
pub(crate) fn parse(block: &[u8], limits: &Limits) -> Result<Level, FormatError> {
    let text = decode(block);
    let mut reader = Reader::from_str(&text);
    let mut budget = TreeBudget::new(limits);
    let mut open: Vec<(String, Level)> = Vec::new();
    loop {
        let (start, is_empty) = match reader.read_event().map_err(|error| malformed(&error))? {
            Event::Start(start) => (start, false),
            Event::Empty(start) => (start, true),
            Event::End(_) => {
                let (name, level) =
                    open.pop().ok_or_else(|| malformed(&"an element ends that never began"))?;
                match open.last_mut() {
                    None => return Ok(level),
                    Some((_, parent)) => parent.0.push((name, Value::Level(level))),
                }
                continue;
            }
            Event::Eof => return Err(malformed(&"the text ends inside an element")),
            _ => continue,
        };
        budget.take_item(open.len() as u32)?;
        let name = own_name(&start);
        let value = typed_value(&start)?;
        match (value, open.last_mut(), is_empty) {
            (Some(value), Some((_, parent)), true) => parent.0.push((name, value)),
            (Some(value), Some((_, parent)), false) => {
                parent.0.push((name, value));
                reader.read_to_end(start.name()).map_err(|error| malformed(&error))?;
            }
            (Some(_), None, _) => return Err(malformed(&"a value stands outside of any level")),
            (None, Some((_, parent)), true) => parent.0.push((name, Value::Level(Level::default()))),
            (None, None, true) => return Ok(Level::default()),
            (None, _, false) => open.push((name, Level::default())),
        }
    }
}

/// UTF-8, or UTF-16 where a byte order mark says so.
fn decode(block: &[u8]) -> String {
    let utf16 = |units: &[u8], convert: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = units.chunks_exact(2).map(|unit| convert([unit[0], unit[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    let text = match block {
        [0xFF, 0xFE, units @ ..] => utf16(units, u16::from_le_bytes),
        [0xFE, 0xFF, units @ ..] => utf16(units, u16::from_be_bytes),
        _ => String::from_utf8_lossy(block).into_owned(),
    };
    text.trim_start_matches('\u{feff}').trim_end_matches('\0').to_owned()
}

fn malformed(error: &impl std::fmt::Display) -> FormatError {
    FormatError::malformed(format!("expected XML metadata: {error}"))
}

fn own_name(start: &BytesStart<'_>) -> String {
    match start.name().0 {
        UNNAMED => String::new(),
        name => name.to_owned(),
    }
}

/// The value of an element that is not a level.
fn typed_value(start: &BytesStart<'_>) -> Result<Option<Value>, FormatError> {
    let mut run_type = None;
    let mut text = String::new();
    for attribute in start.attributes().with_checks(false) {
        let attribute = attribute.map_err(|error| malformed(&error))?;
        match attribute.key.0 {
            "runtype" => run_type = Some(attribute.value.into_owned()),
            // an unknown entity is left as it stands
            "value" => {
                text = unescape(&attribute.value).map_or_else(|_| attribute.value.to_string(), Into::into)
            }
            _ => {}
        }
    }
    let whole = || {
        text.trim()
            .parse::<i128>()
            .map_err(|_| FormatError::malformed(format!("expected a whole number, found {text:?}")))
    };
    Ok(Some(match run_type.as_deref() {
        Some("bool") => Value::Bool(text.eq_ignore_ascii_case("true") || text.trim() == "1"),
        Some("lx_int32") => Value::Int32(whole()? as i32),
        Some("lx_uint32") => Value::Uint32(whole()? as u32),
        Some("lx_int64") => Value::Int64(whole()? as i64),
        Some("lx_uint64") => Value::Uint64(whole()? as u64),
        Some("double" | "float") => Value::Float(text.trim().parse().unwrap_or(f64::NAN)),
        Some("CLxByteArray") => Value::Bytes(bytes_from_hex(&text).unwrap_or_else(|| text.into_bytes())),
        Some("CLxStringW" | "unknown") => Value::Text(text),
        _ => return Ok(None),
    }))
}

fn bytes_from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// Writes a level as the chunks of ND2 version 2 hold it. Control characters that XML cannot hold are left out.
pub(crate) fn encode(level: &Level) -> Vec<u8> {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?><variant version=\"1.0\">");
    encode_item(&mut out, "", &Value::Level(level.clone()));
    out.push_str("</variant>");
    out.into_bytes()
}

fn encode_item(out: &mut String, name: &str, value: &Value) {
    let name = if name.is_empty() { UNNAMED } else { name };
    let (run_type, text) = match value {
        Value::Bool(value) => ("bool", value.to_string()),
        Value::Int32(value) => ("lx_int32", value.to_string()),
        Value::Uint32(value) => ("lx_uint32", value.to_string()),
        Value::Int64(value) => ("lx_int64", value.to_string()),
        Value::Uint64(value) => ("lx_uint64", value.to_string()),
        Value::Float(value) => ("double", format!("{value:?}")),
        Value::Text(value) => ("CLxStringW", attribute_text(value)),
        Value::Bytes(value) => ("CLxByteArray", value.iter().map(|byte| format!("{byte:02x}")).collect()),
        Value::Level(level) => {
            out.push_str(&format!("<{name} runtype=\"CLxListVariant\">"));
            for (name, value) in &level.0 {
                encode_item(out, name, value);
            }
            out.push_str(&format!("</{name}>"));
            return;
        }
    };
    out.push_str(&format!("<{name} runtype=\"{run_type}\" value=\"{text}\"/>"));
}

fn attribute_text(text: &str) -> String {
    let allowed: String =
        text.chars().filter(|c| !c.is_control() || matches!(c, '\t' | '\n' | '\r')).collect();
    escape(allowed).replace('\n', "&#10;").replace('\t', "&#9;")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::formats::FormatErrorKind;
    use crate::formats::nd2::value::tests::any_level;

    fn parsed(text: &[u8]) -> Result<Level, FormatErrorKind> {
        parse(text, &Limits::default()).map_err(|error| error.kind)
    }

    #[test]
    fn reads_typed_values_lists_and_odd_text() {
        let text = b"<?xml version=\"1.0\"?><variant version=\"1.0\"><no_name runtype=\"CLxListVariant\">\
            <uiWidth runtype=\"lx_uint32\" value=\"65\"/><d runtype=\"double\" value=\"0.5\"/>\
            <b runtype=\"bool\" value=\"true\"></b><s runtype=\"CLxStringW\" value=\"a &amp; \xFF &unknown;\"/>\
            <list runtype=\"CLxListVariant\"><no_name runtype=\"lx_int32\" value=\"-1\"/></list><empty/>\
            </no_name></variant>";
        let list = Level::default().with("", -1);
        let inner = Level::default()
            .with("uiWidth", 65_u32)
            .with("d", 0.5)
            .with("b", true)
            .with("s", "a &amp; \u{fffd} &unknown;")
            .with("list", list)
            .with("empty", Level::default());
        assert_eq!(parsed(text), Ok(Level::default().with("", inner)));
    }

    #[test]
    fn reads_utf16_with_a_byte_order_mark() {
        let text = "<variant><a runtype=\"lx_uint64\" value=\"9\"/></variant>";
        let bytes: Vec<u8> =
            [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        assert_eq!(parsed(&bytes), Ok(Level::default().with("a", 9_u64)));
    }

    #[test]
    fn damage_and_bombs_are_refused() {
        let cut = &encode(&Level::default().with("a", 1_u32))[..60];
        assert_eq!(parsed(cut), Err(FormatErrorKind::Malformed));
        assert_eq!(
            parsed(b"<variant><a runtype=\"lx_uint32\" value=\"x\"/></variant>"),
            Err(FormatErrorKind::Malformed)
        );
        assert_eq!(parsed("<a>".repeat(100).as_bytes()), Err(FormatErrorKind::OverLimit));
        assert_eq!(
            parsed(format!("<a>{}</a>", "<b/>".repeat(2 << 20)).as_bytes()),
            Err(FormatErrorKind::OverLimit)
        );
    }

    proptest! {
        #[test]
        fn trees_round_trip(tree in any_level()) {
            let read = parse(&encode(&tree), &Limits::default()).unwrap();
            prop_assert_eq!(read, Level::default().with("", tree));
        }

        #[test]
        fn no_text_panics(text in "[<>/a=\"& ]{0,60}") {
            let _ = parse(text.as_bytes(), &Limits::default());
        }
    }
}
