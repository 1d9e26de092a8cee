//! The centres of a plane's nuclei: what is kept for matching it with another view of the same place.

use super::Region;
use crate::analysis::varint;

/// The centres of the nuclei that lie wholly on a plane. Where the border cuts a nucleus, the centre of what is left
/// is not its centre, so these are left out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Centroids {
    /// `[x, y]` in pixels, origin at the centre of the first pixel; in the order of the labels. Rounded to 32 bits,
    /// which is a thousandth of a pixel on planes of up to 16,384: as it is kept, so it is used.
    pub points: Vec<[f32; 2]>,
    /// The label of each in the table of objects, ascending; empty where they were kept by a version that left them out.
    pub labels: Vec<u32>,
}

impl Centroids {
    /// Most points that are kept of a plane; more are no field of nuclei.
    pub const N_MAX: usize = 65_536;

    /// Version of the form in which they are kept. Version 1 has no labels and is still read.
    pub const VERSION: u32 = 2;

    /// Takes the centres of regions; `None` where there are more than [`Self::N_MAX`].
    pub fn of(objects: &[Region]) -> Option<Self> {
        let whole = objects.iter().filter(|object| !object.touches_border);
        let kept = |object: &Region| ([object.centroid[1] as f32, object.centroid[0] as f32], object.label);
        let (points, labels): (Vec<_>, Vec<_>) = whole.map(kept).unzip();
        (points.len() <= Self::N_MAX).then_some(Self { points, labels })
    }

    /// The points as the numbers to compute with.
    pub fn to_f64(&self) -> Vec<[f64; 2]> {
        self.points.iter().map(|point| point.map(f64::from)).collect()
    }

    /// The form in which they are kept: how many there are, 32 bits; x and y of each point, 32-bit floats, all
    /// little-endian; the steps from label to label as [`varint`] writes them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let n_points = u32::try_from(self.points.len()).unwrap_or(u32::MAX);
        let mut bytes = n_points.to_le_bytes().to_vec();
        bytes.extend(self.points.as_flattened().iter().flat_map(|value| value.to_le_bytes()));
        let mut before = 0;
        for label in &self.labels {
            varint::put(&mut bytes, u64::from(label.wrapping_sub(before)));
            before = *label;
        }
        bytes
    }

    /// Takes back what [`Self::to_bytes`] of a version gave; `None` for anything else.
    pub fn from_bytes(version: u32, bytes: &[u8]) -> Option<Self> {
        let (n_points, bytes) = match version {
            1 if bytes.len().is_multiple_of(8) => (bytes.len() / 8, bytes),
            2 => {
                let (n_points, rest) = bytes.split_first_chunk()?;
                (u32::from_le_bytes(*n_points) as usize, rest)
            }
            _ => return None,
        };
        if n_points > Self::N_MAX || bytes.len() < 8 * n_points {
            return None;
        }
        let (points, mut rest) = bytes.split_at(8 * n_points);
        let value = |bytes: &[u8; 8], at: usize| f32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let points: Vec<_> =
            points.as_chunks::<8>().0.iter().map(|bytes| [value(bytes, 0), value(bytes, 4)]).collect();
        let mut labels = Vec::with_capacity(if rest.is_empty() { 0 } else { n_points });
        let mut label = 0_u32;
        while !rest.is_empty() && labels.len() < n_points {
            label = label.checked_add(u32::try_from(varint::take(&mut rest)?).ok()?)?;
            labels.push(label);
        }
        let is_whole = rest.is_empty() && (labels.is_empty() || labels.len() == n_points);
        let is_finite = points.as_flattened().iter().all(|value| value.is_finite());
        (is_whole && is_finite).then_some(Self { points, labels })
    }

    /// Memory that they take, in bytes.
    pub fn size_bytes(&self) -> usize {
        let labels = self.labels.capacity() * size_of::<u32>();
        size_of::<Self>() + self.points.capacity() * size_of::<[f32; 2]>() + labels
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
        let centroids = Centroids::of(&objects).unwrap();
        assert_eq!((centroids.points, centroids.labels), (vec![[3.0, 1.0]], vec![2]));
        let too_many = vec![objects[1].clone(); Centroids::N_MAX + 1];
        assert_eq!(Centroids::of(&too_many), None);
    }

    #[test]
    fn they_come_back_from_their_bytes_and_nothing_else_does() {
        let points = vec![[1.25, -0.5], [2048.125, 7.0]];
        let centroids = Centroids { points: points.clone(), labels: vec![3, 700] };
        let bytes = centroids.to_bytes();
        assert_eq!(Centroids::from_bytes(2, &bytes), Some(centroids));
        for n_bytes in 0..bytes.len() {
            // without its labels it is what an older version kept
            let found = Centroids::from_bytes(2, &bytes[..n_bytes]);
            assert_eq!(found.is_some(), n_bytes == 20, "{n_bytes} bytes");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(Centroids::from_bytes(2, &longer), None);
        let old = Centroids { points, labels: vec![] };
        assert_eq!(Centroids::from_bytes(1, &bytes[4..20]), Some(old));
        assert_eq!(Centroids::from_bytes(1, &bytes[4..19]), None);
        assert_eq!(Centroids::from_bytes(3, &bytes), None);
        assert_eq!(Centroids::from_bytes(1, &f32::NAN.to_le_bytes().repeat(2)), None);
        assert_eq!(Centroids::from_bytes(1, &vec![0; 8 * (Centroids::N_MAX + 1)]), None);
        assert_eq!(Centroids::from_bytes(2, &u32::MAX.to_le_bytes()), None);
        assert_eq!(Centroids::from_bytes(1, &[]), Some(Centroids::default()));
        assert_eq!(Centroids::from_bytes(2, &Centroids::default().to_bytes()), Some(Centroids::default()));
    }
}
