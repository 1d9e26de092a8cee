//! A plane as rows of finite grey values, whatever its samples are.

use half::f16;

/// Values beyond this are drawn in, so that sums and squares stay finite.
const VALUE_MAX: f64 = 1e15;

/// A sample that has a grey value.
pub(in crate::analysis) trait Sample: Copy {
    /// The value of bin 0 where [`Self::bin`] counts every value exactly (integers of 8 and 16 bits).
    const FIRST_BIN: Option<f32>;

    /// The finite grey value; what is not a number counts as 0.
    fn value(self) -> f32;

    /// The place of the sample in an exact histogram; 0 for types without one.
    fn bin(self) -> u16;
}

macro_rules! exact {
    ($($type:ty, $first:expr, $bin:expr;)*) => {$(
        impl Sample for $type {
            const FIRST_BIN: Option<f32> = Some($first);
            #[inline]
            fn value(self) -> f32 {
                f32::from(self)
            }
            #[inline]
            fn bin(self) -> u16 {
                $bin(self)
            }
        }
    )*};
}

macro_rules! wide {
    ($($type:ty, $to_f64:expr;)*) => {$(
        impl Sample for $type {
            const FIRST_BIN: Option<f32> = None;
            #[inline]
            fn value(self) -> f32 {
                let value: f64 = $to_f64(self);
                if value.is_finite() { value.clamp(-VALUE_MAX, VALUE_MAX) as f32 } else { 0.0 }
            }
            #[inline]
            fn bin(self) -> u16 {
                0
            }
        }
    )*};
}

exact! {
    u8, 0.0, u16::from;
    u16, 0.0, |value| value;
    i8, -128.0, |value: i8| value.wrapping_sub(i8::MIN) as u8 as u16;
    i16, -32768.0, |value: i16| value.wrapping_sub(i16::MIN) as u16;
}

wide! {
    u32, f64::from;
    u64, |value| value as f64;
    i32, f64::from;
    i64, |value| value as f64;
    f16, f64::from;
    f32, f64::from;
    f64, |value| value;
}

/// Rows of a plane; colour becomes the mean of its first three samples, a second sample (alpha) is left out.
#[derive(Clone, Copy)]
pub(in crate::analysis) struct Rows<'a, T> {
    samples: &'a [T],
    pub(in crate::analysis) height: usize,
    pub(in crate::analysis) width: usize,
    n_samples: usize,
}

impl<'a, T: Sample> Rows<'a, T> {
    /// Looks at `height * width * n_samples` samples; fewer mean fewer rows.
    pub(in crate::analysis) fn new(samples: &'a [T], height: usize, width: usize, n_samples: usize) -> Self {
        let row_length = width.saturating_mul(n_samples);
        let height = samples.len().checked_div(row_length).unwrap_or(0).min(height);
        Self { samples, height, width, n_samples }
    }

    /// The samples of row `y`.
    pub(in crate::analysis) fn samples(&self, y: usize) -> &'a [T] {
        let length = self.width * self.n_samples;
        &self.samples[y * length..(y + 1) * length]
    }

    /// Whether a pixel's grey value is one sample.
    pub(in crate::analysis) fn is_plain(&self) -> bool {
        self.n_samples == 1
    }

    /// Writes the grey values of row `y`, drawn into `low..=high`; `values` has the length of a row.
    pub(in crate::analysis) fn read(&self, y: usize, (low, high): (f32, f32), values: &mut [f32]) {
        let samples = self.samples(y);
        match self.n_samples {
            1 => read_plain(samples, (low, high), values),
            2 => {
                for (value, pair) in values.iter_mut().zip(samples.chunks_exact(2)) {
                    *value = pair[0].value().max(low).min(high);
                }
            }
            n => {
                for (value, pixel) in values.iter_mut().zip(samples.chunks_exact(n)) {
                    let sum = pixel[0].value() + pixel[1].value() + pixel[2].value();
                    *value = (sum / 3.0).max(low).min(high);
                }
            }
        }
    }
}

#[multiversion::multiversion(targets("x86_64+avx2", "x86_64+sse4.1"))]
fn read_plain<T: Sample>(samples: &[T], (low, high): (f32, f32), values: &mut [f32]) {
    for (value, sample) in values.iter_mut().zip(samples) {
        *value = sample.value().max(low).min(high);
    }
}
