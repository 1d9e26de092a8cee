//! The centres of a plane's nuclei: what is kept for matching it with another view of the same place.

use super::Region;

/// The centres of the nuclei that lie wholly on a plane. Where the border cuts a nucleus, the centre of what is left
/// is not its centre, so these are left out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Centroids {
    /// `[x, y]` in pixels, origin at the centre of the first pixel; in the order of the labels. Rounded to 32 bits,
    /// which is a thousandth of a pixel on planes of up to 16,384: as it is kept, so it is used.
    pub points: Vec<[f32; 2]>,
}

impl Centroids {
    /// Most points that are kept of a plane; more are no field of nuclei.
    pub const N_MAX: usize = 65_536;

    /// Version of the form in which they are kept.
    pub const VERSION: u32 = 1;

    /// Takes the centres of regions; `None` where there are more than [`Self::N_MAX`].
    pub fn of(objects: &[Region]) -> Option<Self> {
        let whole = objects.iter().filter(|object| !object.touches_border);
        let points: Vec<_> =
            whole.map(|object| [object.centroid[1] as f32, object.centroid[0] as f32]).collect();
        (points.len() <= Self::N_MAX).then_some(Self { points })
    }

    /// The points as the numbers to compute with.
    pub fn to_f64(&self) -> Vec<[f64; 2]> {
        self.points.iter().map(|point| point.map(f64::from)).collect()
    }

    /// The form in which they are kept: x and y of each point, 32-bit floats, little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.points.as_flattened().iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    /// Takes back what [`Self::to_bytes`] gave; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (points, rest) = bytes.as_chunks::<8>();
        if !rest.is_empty() || points.len() > Self::N_MAX {
            return None;
        }
        let value = |bytes: &[u8; 8], at: usize| f32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let points: Vec<_> = points.iter().map(|bytes| [value(bytes, 0), value(bytes, 4)]).collect();
        points.as_flattened().iter().all(|value| value.is_finite()).then_some(Self { points })
    }

    /// Memory that they take, in bytes.
    pub fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.points.capacity() * size_of::<[f32; 2]>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::segmentation::{LabelImage, measure};
    use crate::formats::{Plane, Samples};

    #[test]
    fn nuclei_on_the_border_are_left_out_and_x_comes_first() {
        let labels = vec![
            1, 1, 0, 0, 0, //
            0, 0, 0, 2, 0, //
            0, 0, 0, 0, 0,
        ];
        let plane = Plane { height: 3, width: 5, n_samples: 1, samples: Samples::Uint8(vec![1; 15]) };
        let objects = measure(&plane, &LabelImage { height: 3, width: 5, n_objects: 2, labels });
        assert_eq!(Centroids::of(&objects).unwrap().points, [[3.0, 1.0]]);
        let too_many = vec![objects[1].clone(); Centroids::N_MAX + 1];
        assert_eq!(Centroids::of(&too_many), None);
    }

    #[test]
    fn they_come_back_from_their_bytes_and_nothing_else_does() {
        let centroids = Centroids { points: vec![[1.25, -0.5], [2048.125, 7.0]] };
        let bytes = centroids.to_bytes();
        assert_eq!(Centroids::from_bytes(&bytes), Some(centroids));
        assert_eq!(Centroids::from_bytes(&bytes[..13]), None);
        assert_eq!(Centroids::from_bytes(&f32::NAN.to_le_bytes().repeat(2)), None);
        assert_eq!(Centroids::from_bytes(&vec![0; 8 * (Centroids::N_MAX + 1)]), None);
        assert_eq!(Centroids::from_bytes(&[]), Some(Centroids::default()));
    }
}
