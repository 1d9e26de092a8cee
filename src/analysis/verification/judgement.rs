//! What S, R and Q mean.

use super::{
    CompressionEvidence, Evidence, Placement, RefinementEvidence, Relation, Verdict, VerificationSettings,
    VerificationStage,
};

/// R from which a grey map alone, and no loss, lies between two planes.
const R_MAPPED: f32 = 0.9;
/// Exceptions to the grey map, as a part of those of neighbouring pixels, that no copy has.
pub(super) const EXCEPTIONS_MAX: f32 = 0.005;
/// Own noise of a plane, at most, that can be a lossy copy by its Q.
const OWN_NOISE_LOSSY_MAX: f32 = 0.5;
/// Own noise from which a correlated part may as well be the fixed pattern of the camera.
const OWN_NOISE_COPY_MAX: f32 = 0.9;
/// Own noise below which a plane has lost what would tell its exposure.
const OWN_NOISE_MIN: f32 = 0.6;
/// Correlation of the reduced planes from which frames that do not look alike as a whole share a scene in part.
const STRUCTURE_PART_MIN: f32 = 0.9;
/// Coefficients beyond the rounding of a JPEG, as a part of those of two exposures, that a copy may have. Projections of
/// one stack, which share part of their noise, have 0.48 and more.
const BEYOND_ROUNDING_MAX: f32 = 0.3;
/// The same from which two exposures are meant.
const BEYOND_ROUNDING_SCENE_MIN: f32 = 0.7;
/// Coefficients that two exposures must have beyond the rounding before anything is said.
const N_BEYOND_MIN: f32 = 40.0;
/// Common part of the larger plane from which both show the same frame.
const OVERLAP_WHOLE: f32 = 0.9;
/// Common part of the smaller plane from which it is a part of the larger one, and no tile beside it.
const OVERLAP_PART: f32 = 0.98;
/// Scales nearer to 1 than this mean no resizing.
const SCALE_TOLERANCE: f64 = 0.01;

/// A relation, how sure it is, and why.
pub(super) struct Judgement {
    relation: Relation,
    confidence: f32,
    reason: String,
}

impl Judgement {
    pub(super) fn new(relation: Relation, confidence: f32, reason: impl Into<String>) -> Self {
        Self { relation, confidence: confidence.clamp(0.0, 1.0), reason: reason.into() }
    }

    pub(super) fn into_verdict(self, stopped_at: VerificationStage, evidence: Evidence) -> Verdict {
        let Self { relation, confidence, reason } = self;
        Verdict { relation, confidence, reason, stopped_at, placement: None, is_inverted: false, evidence }
    }
}

/// Judges the figures of stage 5 at the place found.
pub(super) fn judged(evidence: &Evidence, place: &Placement, settings: &VerificationSettings) -> Judgement {
    let Some(figures) = &evidence.refinement else {
        let reason = "the common part is too small for the noise to be compared";
        return Judgement::new(Relation::Uncertain, 0.5, reason);
    };
    if let Some(judgement) = one_exposure(figures, place.scale, settings) {
        return judgement;
    }
    let s = figures.s;
    if s < settings.s_min {
        let reason = format!("the scenes differ: S {s:.2}");
        return Judgement::new(Relation::Distinct, 1.0 - 0.5 * s.max(0.0) / settings.s_min, reason);
    }
    let strength = evidence.structure.map_or(0.0, |structure| structure.correlation.abs());
    if evidence.code.is_none_or(|code| code.distance > settings.distance_max) && strength < STRUCTURE_PART_MIN
    {
        let reason = format!("a part is similar, but not the same: correlation {strength:.2}, S {s:.2}");
        return Judgement::new(Relation::Distinct, 0.5, reason);
    }
    let judgement = two_exposures(figures, settings);
    if judgement.relation == Relation::Reacquired && place.orientation != 0 {
        // eight ways to turn a field of a few nuclei find one that fits by chance; a camera does not turn between exposures
        let reason = format!("alike when turned, but no copy: {}", judgement.reason);
        return Judgement::new(Relation::Distinct, 0.5, reason);
    }
    judgement
}

/// The judgement where the scene agrees and one exposure is not shown.
fn two_exposures(figures: &RefinementEvidence, settings: &VerificationSettings) -> Judgement {
    let s = figures.s;
    let (Some(r), Some(q), Some(own)) = (figures.r, figures.q, figures.own_noise) else {
        let reason =
            format!("the scene agrees (S {s:.2}), but the noise is lost in the steps of the grey values");
        return Judgement::new(Relation::Uncertain, 0.5, reason);
    };
    let reason = format!("S {s:.2}, R {r:.2}, Q {q:.2}");
    if let Some(jpeg) = &figures.compression
        && beyond_rounding(jpeg).is_none_or(|ratio| ratio < BEYOND_ROUNDING_SCENE_MIN)
    {
        let reason =
            format!("the scene agrees, but compression has taken the noise that would tell: {reason}");
        return Judgement::new(Relation::Uncertain, 0.5, reason);
    }
    let margin = ((s - settings.s_min) / (1.0 - settings.s_min)).min(1.0 - r.abs() / settings.r_min);
    match q {
        _ if r >= settings.r_min => Judgement::new(
            Relation::Uncertain,
            0.5,
            format!("the noise agrees in part only, as the fixed pattern of a camera does: {reason}"),
        ),
        _ if own < OWN_NOISE_MIN => Judgement::new(
            Relation::Uncertain,
            0.5,
            format!("the scene agrees, but one plane has hardly any noise of its own: {reason}"),
        ),
        q if q <= settings.q_max => Judgement::new(
            Relation::Uncertain,
            0.5,
            format!(
                "the difference is smaller than two exposures would give, but the noise differs: {reason}"
            ),
        ),
        q if q <= settings.q_scene_max => Judgement::new(
            Relation::Reacquired,
            0.5 + 0.5 * margin,
            format!("the same scene with other noise: {reason}"),
        ),
        q => Judgement::new(
            Relation::ChangedScene,
            1.0 - 0.5 * settings.q_scene_max / q,
            format!("the same place, but more than the noise differs: {reason}"),
        ),
    }
}

/// The coefficients beyond the rounding of a JPEG, where they can tell.
fn beyond_rounding(jpeg: &CompressionEvidence) -> Option<f32> {
    jpeg.beyond_rounding.filter(|_| jpeg.n_expected >= N_BEYOND_MIN)
}

/// The judgement where both planes are one exposure.
fn one_exposure(
    figures: &RefinementEvidence,
    scale: f64,
    settings: &VerificationSettings,
) -> Option<Judgement> {
    let is_resized = (scale - 1.0).abs() > SCALE_TOLERANCE;
    let is_exact = figures.exceptions.is_some_and(|ratio| ratio <= EXCEPTIONS_MAX);
    let (r, q) = (figures.r.unwrap_or(0.0), figures.q.unwrap_or(f32::MAX));
    let own = figures.own_noise.unwrap_or(f32::MAX);
    // without resizing, the noise of a copy that is not lost leaves no difference: projections and focus steps that share
    // part of their noise do leave one
    let by_r = r >= settings.r_min && own <= OWN_NOISE_COPY_MAX && (is_resized || q <= settings.q_max);
    let by_q = q <= settings.q_max
        && own <= OWN_NOISE_LOSSY_MAX
        && figures.r_coarse.is_some_and(|r| r >= settings.r_min);
    // what compression leaves of the finest details is its own work, not noise
    let rounding = figures.compression.as_ref().map(|jpeg| beyond_rounding(jpeg).unwrap_or(1.0));
    let by_rounding = rounding.is_some_and(|ratio| ratio <= BEYOND_ROUNDING_MAX);
    let (by_r, by_q) = (by_r && rounding.is_none(), by_q && rounding.is_none());
    if !(is_exact || by_r || by_q || by_rounding) {
        return None;
    }
    if figures.s < settings.s_min {
        let reason = format!("the noise agrees (R {r:.2}), but the scene does not: S {:.2}", figures.s);
        return Some(Judgement::new(Relation::Uncertain, 0.5, reason));
    }
    if figures.overlap_larger < OVERLAP_WHOLE && figures.overlap < OVERLAP_PART {
        let reason =
            "one exposure in the common part, but each shows more than the other, as tiles of a mosaic do";
        return Some(Judgement::new(Relation::Uncertain, 0.5, reason));
    }
    let (confidence, reason) = if is_exact {
        (1.0, "each grey value of one becomes one grey value of the other, without exception".to_owned())
    } else if let Some(ratio) = rounding {
        (
            1.0 - 0.5 * ratio / BEYOND_ROUNDING_MAX,
            format!("the JPEG differs by no more than its rounding: {ratio:.2} of what two exposures would"),
        )
    } else if by_r {
        (
            0.5 + 0.5 * (r - settings.r_min) / (R_MAPPED - settings.r_min),
            format!("the noise agrees: R {r:.2}"),
        )
    } else {
        (1.0 - 0.5 * q / settings.q_max, format!("less differs than two exposures would: Q {q:.2}"))
    };
    let relation = match figures.overlap_larger {
        common if common < OVERLAP_WHOLE => Relation::PartialOverlap,
        _ if !is_resized && (is_exact || r >= R_MAPPED && rounding.is_none()) => Relation::SameExposureMapped,
        _ => Relation::SameExposureLossy,
    };
    Some(Judgement::new(relation, confidence, reason))
}
