//! A plane that was taken out of its file and may still have to be decoded.

use std::fmt;

use super::{FormatError, Plane};

type Decode = Box<dyn FnOnce(&mut Plane) -> Result<(), FormatError> + Send>;

/// A plane in memory: its pixels, or what they are decoded from without the file.
pub struct FetchedPlane(Kind);

enum Kind {
    Decoded(Plane),
    Encoded(Decode),
}

impl FetchedPlane {
    pub(super) fn decoded(plane: Plane) -> Self {
        Self(Kind::Decoded(plane))
    }

    pub(super) fn encoded(
        decode: impl FnOnce(&mut Plane) -> Result<(), FormatError> + Send + 'static,
    ) -> Self {
        Self(Kind::Encoded(Box::new(decode)))
    }

    /// Gives the plane. Large ones of several strips or tiles are decoded by all threads of the rayon pool that this is
    /// called in; the samples are the same for any number of them.
    ///
    /// # Errors
    /// `malformed` for damaged data.
    pub fn decode(self) -> Result<Plane, FormatError> {
        match self.0 {
            Kind::Decoded(plane) => Ok(plane),
            Kind::Encoded(decode) => {
                let mut plane = Plane::empty();
                decode(&mut plane)?;
                Ok(plane)
            }
        }
    }
}

impl fmt::Debug for FetchedPlane {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.0 {
            Kind::Decoded(_) => "FetchedPlane(decoded)",
            Kind::Encoded(_) => "FetchedPlane(encoded)",
        })
    }
}

/// The bytes that an encoded plane may take beside a decoded one of `decoded_bytes`: what does not compress grows a little.
pub const fn encoded_bytes_max(decoded_bytes: u64) -> u64 {
    decoded_bytes.saturating_add(decoded_bytes / 8).saturating_add(64 << 10)
}
