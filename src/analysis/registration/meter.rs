//! What the parts of a fit take, as whoever asks for it can measure: this layer knows no clock.

use std::time::Duration;

/// What one deed took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Wall time.
    pub time: Duration,
    /// The most memory held at one time, in bytes; `None` where nobody counts.
    pub peak_bytes: Option<u64>,
}

/// Measures one deed after the other.
pub trait Meter {
    /// A deed begins.
    fn begin(&mut self);

    /// It has ended.
    fn end(&mut self) -> Cost;

    /// Measures a deed.
    fn measure<T>(&mut self, deed: impl FnOnce() -> T) -> (T, Cost)
    where
        Self: Sized,
    {
        self.begin();
        let result = deed();
        (result, self.end())
    }
}

/// Measures nothing.
impl Meter for () {
    fn begin(&mut self) {}

    fn end(&mut self) -> Cost {
        Cost::default()
    }
}
