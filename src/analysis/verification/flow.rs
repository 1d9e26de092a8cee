//! The five stages in their order, for planes in canonical order.

use std::borrow::Cow;

use super::candidates::nearest_orientation;
use super::exact_map::Exceptions;
use super::grey_image::Image;
use super::grey_map::explained;
use super::judgement::{Judgement, judged};
use super::locate::{Located, locate};
use super::measures::Measures;
use super::placement::turned_shape;
use super::*;

/// Blocks along a side where grey maps are compared.
const N_BLOCKS: usize = 32;

/// Compares A with B, which has no more pixels than A; calls `done` at the end of each stage.
pub(super) fn compare(
    a: &Prepared,
    b: &Prepared,
    settings: &VerificationSettings,
    done: &mut dyn FnMut(VerificationStage),
) -> Verdict {
    let (features_a, features_b) = (&a.features, &b.features);
    let (distance, orientation, is_inverted) = nearest_orientation(&features_a.code, &features_b.code);
    let code = CodeEvidence { distance, orientation, is_inverted };
    let mut evidence = Evidence { code: Some(code), ..Evidence::default() };
    done(VerificationStage::Code);
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
    let in_place = in_place(a, b, orientation).filter(|_| is_whole);
    let exceptions = in_place.as_ref().and_then(|(_, exceptions)| *exceptions);
    evidence.grey_map = Some(GreyMapEvidence {
        r_squared: blocks_explained(a, b, (orientation, is_inverted)),
        exceptions: exceptions.and_then(|exceptions| exceptions.ratio()),
    });
    done(VerificationStage::GreyMap);
    evidence.texture = Some(texture(features_a, features_b));
    done(VerificationStage::Texture);
    let located = match in_place {
        Some((turned, Some(exceptions))) if exceptions.is_one_exposure() => {
            let correlation = if is_inverted { -1.0 } else { 1.0 };
            let b = Cow::Borrowed(b.image());
            Located { orientation, scale: 1.0, shift: (0, 0), correlation, a: turned, b }
        }
        _ => {
            let orientations = orientations(features_a, features_b, settings);
            locate(a, b, &orientations, (is_whole, f64::from(settings.overlap_min)))
        }
    };
    let is_in_place = located.orientation == orientation && located.scale == 1.0 && located.shift == (0, 0);
    let exceptions = exceptions.filter(|_| is_in_place);
    done(VerificationStage::Structure);
    let verdict = refine(&located, (a, b), (exceptions, evidence), settings);
    if verdict.stopped_at == VerificationStage::Refinement {
        done(VerificationStage::Refinement);
    }
    verdict
}

/// A turned like B, and how often the grey map has exceptions there; `None` where the shapes differ.
#[allow(clippy::type_complexity, reason = "an image and a count")]
fn in_place<'p>(
    a: &'p Prepared,
    b: &Prepared,
    orientation: u8,
) -> Option<(Cow<'p, Image>, Option<Exceptions>)> {
    if turned_shape(a.shape(), orientation) != b.shape() {
        return None;
    }
    let turned = match orientation {
        0 => Cow::Borrowed(a.image()),
        _ => Cow::Owned(a.image().clone().turned(orientation)),
    };
    let exceptions = Exceptions::count(&turned, b.image(), (0, 0));
    Some((turned, exceptions))
}

/// Stages 4 and 5, once the place is known.
fn refine(
    located: &Located<'_>,
    (a, b): (&Prepared, &Prepared),
    (in_place, mut evidence): (Option<Exceptions>, Evidence),
    settings: &VerificationSettings,
) -> Verdict {
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
    let count = || Exceptions::count(&located.a, &located.b, located.shift);
    let exceptions = in_place.or_else(|| (located.scale == 1.0).then(count).flatten());
    let measures = Measures::of(&located.a, &located.b, located.shift, (is_inverted, b.step));
    let compression = compression(located, (a, b), is_inverted);
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
        compression,
    });
    let placement = Placement {
        orientation: located.orientation,
        scale: located.scale,
        shift_row_px: located.shift.0 as f64 * located.scale,
        shift_column_px: located.shift.1 as f64 * located.scale,
    };
    let judgement = judged(&evidence, &placement, settings);
    let verdict = judgement.into_verdict(VerificationStage::Refinement, evidence);
    Verdict { placement: Some(placement), is_inverted, ..verdict }
}

/// What the rounding of a JPEG says, where one of the planes is one.
fn compression(
    located: &Located<'_>,
    (a, b): (&Prepared, &Prepared),
    is_inverted: bool,
) -> Option<CompressionEvidence> {
    let (jpeg, other) = (b.quantisation.as_ref(), a.quantisation.as_ref());
    let is_in_place = located.orientation == 0 && located.shift == (0, 0);
    let beyond = match (jpeg, other) {
        (Some(jpeg), None) if located.scale == 1.0 => {
            jpeg.beyond_rounding(&located.a, &located.b, located.shift, is_inverted)
        }
        (None, Some(jpeg)) if located.scale == 1.0 && is_in_place => {
            jpeg.beyond_rounding(&located.b, &located.a, (0, 0), is_inverted)
        }
        _ => None,
    };
    Some(CompressionEvidence {
        quality: jpeg.or(other)?.quality,
        is_both: jpeg.is_some() && other.is_some(),
        beyond_rounding: beyond.map(|beyond| beyond.ratio),
        n_expected: beyond.map_or(0.0, |beyond| beyond.n_expected),
    })
}

/// Stage 2: how much of the block means of B a monotone map of those of the turned A explains.
fn blocks_explained(a: &Prepared, b: &Prepared, (orientation, is_inverted): (u8, bool)) -> f32 {
    let shape_a = turned_shape(a.shape(), orientation);
    let side = |one: usize, other: usize| one.min(other).min(N_BLOCKS);
    let shape = (side(shape_a.0, b.shape().0), side(shape_a.1, b.shape().1));
    let blocks = |image: &Image| {
        let pitch = (image.height as f64 / shape.0 as f64, image.width as f64 / shape.1 as f64);
        image.resampled(shape, (0.0, 0.0), pitch).values
    };
    let turned = a.reduced(2 * N_BLOCKS).clone().turned(orientation);
    explained(&blocks(&turned), &blocks(b.reduced(2 * N_BLOCKS)), is_inverted)
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
