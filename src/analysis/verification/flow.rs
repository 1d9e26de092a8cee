//! The five stages in their order, for planes in canonical order.

use std::borrow::Cow;

use super::candidates::nearest_orientation;
use super::exact_map::Exceptions;
use super::grey_image::Image;
use super::grey_map::explained;
use super::judgement::{Judgement, judged};
use super::locate::{Located, locate};
use super::measures::Measures;
use super::*;
use crate::units::SampleType::{Float16, Float32, Float64};

/// Blocks along a side where grey maps are compared.
const N_BLOCKS: usize = 32;

/// Compares A with B, which has no more pixels than A.
pub(super) fn compare(
    (a, features_a): (&Plane, &PlaneFeatures),
    (b, features_b): (&Plane, &PlaneFeatures),
    settings: &VerificationSettings,
) -> Verdict {
    let (distance, orientation, is_inverted) = nearest_orientation(&features_a.code, &features_b.code);
    let code = CodeEvidence { distance, orientation, is_inverted };
    let mut evidence = Evidence { code: Some(code), ..Evidence::default() };
    if features_a.is_blank() || features_b.is_blank() {
        let judgement = Judgement::new(Relation::Blank, 1.0, "a plane shows nothing above its noise");
        return judgement.into_verdict(VerificationStage::Code, evidence);
    }
    let is_whole = distance <= settings.distance_max;
    if !is_whole && !settings.search_parts {
        let reason = format!("the codes differ by {distance} of 256 bits");
        return Judgement::new(Relation::Distinct, 1.0, reason)
            .into_verdict(VerificationStage::Code, evidence);
    }
    let (image_a, image_b) = (Image::of_plane(a), Image::of_plane(b));
    let turned = if orientation == 0 {
        Cow::Borrowed(&image_a)
    } else {
        Cow::Owned(image_a.clone().turned(orientation))
    };
    let in_place = if is_whole && turned.shape() == image_b.shape() {
        Exceptions::count(&turned, &image_b, (0, 0))
    } else {
        None
    };
    evidence.grey_map = Some(GreyMapEvidence {
        r_squared: blocks_explained(&turned, &image_b, is_inverted),
        exceptions: in_place.and_then(|exceptions| exceptions.ratio()),
    });
    evidence.texture = Some(texture(features_a, features_b));
    let located = if in_place.is_some_and(|exceptions| exceptions.is_one_exposure()) {
        let correlation = if is_inverted { -1.0 } else { 1.0 };
        Located { orientation, scale: 1.0, shift: (0, 0), correlation, a: turned.into_owned(), b: image_b }
    } else {
        drop(turned);
        let orientations = orientations(features_a, features_b, settings);
        locate(image_a, image_b, &orientations, (is_whole, f64::from(settings.overlap_min)))
    };
    refine(&located, step(b), evidence, settings)
}

/// Stages 4 and 5, once the place is known.
fn refine(located: &Located, step: f64, mut evidence: Evidence, settings: &VerificationSettings) -> Verdict {
    let (overlap, overlap_larger) = located.overlaps();
    let strength = located.correlation.abs();
    evidence.structure =
        Some(StructureEvidence { correlation: located.correlation, overlap: overlap as f32 });
    if strength < settings.structure_min {
        let reason = format!("no place where the structure agrees: correlation {strength:.2} at best");
        let confidence = 1.0 - 0.5 * strength / settings.structure_min;
        return Judgement::new(Relation::Distinct, confidence, reason)
            .into_verdict(VerificationStage::Structure, evidence);
    }
    let is_inverted = located.correlation < 0.0;
    let exceptions =
        if located.scale == 1.0 { Exceptions::count(&located.a, &located.b, located.shift) } else { None };
    let measures = Measures::of(&located.a, &located.b, located.shift, (is_inverted, step));
    evidence.refinement = measures.map(|measures| RefinementEvidence {
        s: measures.s,
        r: measures.noise.map(|noise| noise.r),
        r_coarse: measures.r_coarse,
        q: measures.noise.map(|noise| noise.q),
        own_noise: measures.noise.map(|noise| noise.own),
        exceptions: exceptions.and_then(|exceptions| exceptions.ratio()),
        overlap: overlap as f32,
        overlap_larger: overlap_larger as f32,
        n_levels: measures.noise.map_or(0, |noise| noise.n_levels),
    });
    let placement = Placement {
        orientation: located.orientation,
        scale: located.scale,
        shift_row_px: located.shift.0 as f64 * located.scale,
        shift_column_px: located.shift.1 as f64 * located.scale,
    };
    let judgement = judged(&evidence, located.scale, settings);
    let verdict = judgement.into_verdict(VerificationStage::Refinement, evidence);
    Verdict { placement: Some(placement), is_inverted, ..verdict }
}

/// Stage 2: how much of the block means of B a monotone map of those of the turned A explains.
fn blocks_explained(a: &Image, b: &Image, is_inverted: bool) -> f32 {
    let side = |one: usize, other: usize| one.min(other).min(N_BLOCKS);
    let shape = (side(a.height, b.height), side(a.width, b.width));
    let blocks = |image: &Image| {
        let pitch = (image.height as f64 / shape.0 as f64, image.width as f64 / shape.1 as f64);
        image.resampled(shape, (0.0, 0.0), pitch).values
    };
    explained(&blocks(a), &blocks(b), is_inverted)
}

/// Stage 3: noise, and how differently the energy of details is spread over scales and directions. Directions are
/// averaged, because one plane may be turned.
fn texture(a: &PlaneFeatures, b: &PlaneFeatures) -> TextureEvidence {
    let spread = |features: &PlaneFeatures| {
        let scales = features.energies.map(|[across, down, diagonal]| (across + down + diagonal) / 3.0);
        let mean = scales.iter().sum::<f32>() / scales.len() as f32;
        scales.map(|energy| energy - mean)
    };
    let (spread_a, spread_b) = (spread(a), spread(b));
    let distance = spread_a.iter().zip(spread_b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    TextureEvidence { noise_a: a.noise, noise_b: b.noise, energy_distance_octaves: distance }
}

/// The orientations worth trying, nearest code first: those within the distance, or all where none is.
fn orientations(a: &PlaneFeatures, b: &PlaneFeatures, settings: &VerificationSettings) -> Vec<u8> {
    let mut distances: Vec<(u32, u8)> = (0_u8..)
        .zip(a.code.orientations())
        .map(|(orientation, turned)| {
            let distance = turned.hamming(&b.code);
            (distance.min(256 - distance), orientation)
        })
        .collect();
    distances.sort_unstable();
    let n_near = distances.iter().filter(|(distance, _)| *distance <= settings.distance_max).count();
    distances.truncate(if n_near > 0 { n_near } else { distances.len() });
    distances.into_iter().map(|(_, orientation)| orientation).collect()
}

/// The step of a plane's grey values: that of integers, divided among the colours of a mean.
fn step(plane: &Plane) -> f64 {
    match plane.samples.sample_type() {
        Float16 | Float32 | Float64 => 0.0,
        _ if plane.n_samples >= 3 => 1.0 / 3.0,
        _ => 1.0,
    }
}
