//! One picture of a stack of focus steps: its maximum projection, or the slice that is best in focus. Both take slice by
//! slice, so that two planes in memory are enough.

use super::blur::blur_plane;
use super::check_shape;
use super::focus::focus;
use super::levels::Levels;
use crate::formats::plane::{Plane, Samples};

/// Two slices of one stack that cannot be laid on one another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected slices of one shape and type, found {0} beside {1}")]
pub struct SlicesDiffer(String, String);

/// Raises every sample of `projection` to that of `slice` where this one is greater. What is not a number is passed over.
///
/// # Errors
/// [`SlicesDiffer`] in shape or sample type; the projection stays as it was.
pub fn raise_to_maximum(projection: &mut Plane, slice: &Plane) -> Result<(), SlicesDiffer> {
    let shape = |plane: &Plane| [plane.height, plane.width, plane.n_samples, plane.samples.len()];
    let text = |plane: &Plane| {
        let [height, width, n_samples, _] = shape(plane);
        format!("{height} x {width} x {n_samples} {}", plane.samples.sample_type())
    };
    if shape(projection) != shape(slice) {
        return Err(SlicesDiffer(text(slice), text(projection)));
    }
    macro_rules! raise {
        ($($kind:ident),*) => {
            match (&mut projection.samples, &slice.samples) {
                $((Samples::$kind(highest), Samples::$kind(samples)) => raise(highest, samples),)*
                _ => return Err(SlicesDiffer(text(slice), text(projection))),
            }
        };
    }
    raise!(Uint8, Uint16, Uint32, Uint64, Int8, Int16, Int32, Int64, Float16, Float32, Float64);
    Ok(())
}

fn raise<T: PartialOrd + Copy>(highest: &mut [T], samples: &[T]) {
    for (highest, &sample) in highest.iter_mut().zip(samples) {
        let held = *highest;
        let is_no_number = held.partial_cmp(&held).is_none();
        if sample > held || is_no_number {
            *highest = sample;
        }
    }
}

/// How sharp a slice is, to be compared with the others of its stack: the variance of the Laplacian of Gaussian (sigma 1
/// pixel), less what noise alone gives, in squared units of the file. Small where nothing stands out of the noise; 0 for colour
/// planes and below 3 rows or columns.
///
/// Unlike [`super::PlaneQuality::focus`] it is not divided by the contrast, which light from other depths lowers and raises:
/// in one stack the same objects are seen.
///
/// # References
/// J. Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy (2000): the variance of the Laplacian.
pub fn sharpness(slice: &Plane) -> f64 {
    const SIGMA_PX: f64 = 1.0;
    if check_shape(slice).is_err() || slice.samples.is_empty() {
        return 0.0;
    }
    let levels = Levels::of(slice);
    let blurred = blur_plane(slice, &levels, SIGMA_PX);
    focus(&blurred, slice.width, 1.0) * levels.step * levels.step
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;
    use crate::analysis::synthesis::{FieldSettings, Random, expose, place_nuclei};

    fn row(samples: Samples) -> Plane {
        Plane { height: 1, width: samples.len(), n_samples: 1, samples }
    }

    #[test]
    fn a_projection_holds_the_greatest_sample_of_each_pixel() {
        let mut projection = row(Samples::Int16(vec![-3, 5, 0]));
        for slice in [vec![-4, 6, 0], vec![-2, -6, 1]] {
            raise_to_maximum(&mut projection, &row(Samples::Int16(slice))).unwrap();
        }
        assert_eq!(projection, row(Samples::Int16(vec![-2, 6, 1])));
        let mut projection = row(Samples::Float16(vec![f16::NAN, f16::ONE, f16::ZERO]));
        let slice = row(Samples::Float16(vec![f16::ONE, f16::NAN, f16::NEG_ONE]));
        raise_to_maximum(&mut projection, &slice).unwrap();
        assert_eq!(projection, row(Samples::Float16(vec![f16::ONE, f16::ONE, f16::ZERO])));
        let exact = [u64::MAX - 1, u64::MAX];
        let mut projection = row(Samples::Uint64(exact.to_vec()));
        raise_to_maximum(&mut projection, &row(Samples::Uint64(vec![u64::MAX; 2]))).unwrap();
        assert_eq!(projection, row(Samples::Uint64(vec![u64::MAX; 2])));
    }

    #[test]
    fn slices_that_differ_in_shape_or_type_are_refused() {
        let mut projection = row(Samples::Uint8(vec![1, 2]));
        for other in [Samples::Uint8(vec![9]), Samples::Uint16(vec![9, 9])] {
            let error = raise_to_maximum(&mut projection, &row(other)).unwrap_err();
            assert!(error.to_string().contains("1 x 2 x 1 uint8"), "{error}");
        }
        assert_eq!(projection, row(Samples::Uint8(vec![1, 2])));
    }

    /// The plane seen out of focus by so many pixels, with the noise of a camera of its own.
    fn defocused(plane: &Plane, radius: usize, seed: u64) -> Plane {
        let Samples::Uint16(values) = &plane.samples else { panic!("another type") };
        let (height, width) = (plane.height, plane.width);
        let mut random = Random::new(seed);
        let reach = radius as isize;
        let at = |y: isize, x: isize| {
            let (y, x) = (y.clamp(0, height as isize - 1), x.clamp(0, width as isize - 1));
            f64::from(values[y as usize * width + x as usize])
        };
        let blurred = |index: usize| {
            let (y, x) = ((index / width) as isize, (index % width) as isize);
            let rows = (-reach..=reach).flat_map(|dy| (-reach..=reach).map(move |dx| (dy, dx)));
            let sum: f64 = rows.map(|(dy, dx)| at(y + dy, x + dx)).sum();
            sum / ((2 * radius + 1) as f64).powi(2)
        };
        let noisy = |light: f64, noise: f64| (light + noise * light.sqrt()).round().max(0.0) as u16;
        let samples = (0..height * width).map(|index| noisy(blurred(index), random.normal())).collect();
        Plane { samples: Samples::Uint16(samples), ..*plane }
    }

    #[test]
    fn the_slice_in_focus_is_the_sharpest_and_noise_is_not_sharp() {
        for (seed, signal, gain) in [(1, 900.0, 20.0), (2, 60.0, 1.5)] {
            let settings =
                FieldSettings { height: 160, width: 200, n_nuclei: 20, signal, ..FieldSettings::default() };
            let field = expose(&settings, &place_nuclei(&settings, &mut Random::new(seed)), seed);
            let sharpness_at = |radius| sharpness(&defocused(&field, radius, seed + 9));
            let in_focus = sharpness_at(0);
            let others = [1, 2, 4].map(sharpness_at);
            assert!(others.iter().all(|other| 1.5 * other < in_focus), "{others:?} beside {in_focus}");
            let empty = FieldSettings { n_nuclei: 0, signal: 0.0, ..settings };
            let empty = sharpness(&expose(&empty, &[], seed));
            assert!(gain * empty < in_focus, "{empty} beside {in_focus}");
        }
        let flat = row(Samples::Uint8(vec![3; 16]));
        assert_eq!(sharpness(&Plane { height: 4, width: 4, ..flat }), 0.0);
        assert_eq!(sharpness(&Plane::empty()), 0.0);
    }
}
