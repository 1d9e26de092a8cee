//! What was found of a pair of planes, in words and as JSON.

use std::path::Path;

use serde_json::{Value, json};

use crate::analysis::hashing::{ORIENTATION_NAMES, plane_features};
use crate::analysis::verification::{
    Evidence, Picture, Placement, Prepared, Relation, Verdict, VerificationSettings, verify_prepared,
};
use crate::formats::Plane;
use crate::units::PlaneIndex;

use super::CompareArgs;
use crate::cli::file_error::FileError;

/// What was found of a pair of planes, and the last stage that was run.
pub(super) struct Finding {
    stopped_at: &'static str,
    verdict: Result<Verdict, (Relation, &'static str)>,
    /// Height and width of the common part, where it was drawn; `None` inside where no place is known.
    drawn: Option<Option<(usize, usize)>>,
}

/// What the panels of a picture show, from left to right; the first two alone where no place is known.
const PANELS: [&str; 4] = ["a", "b", "difference", "noise_agreement"];

/// Equal samples lie on each other.
const IN_PLACE: Placement = Placement { orientation: 0, scale: 1.0, shift_row_px: 0.0, shift_column_px: 0.0 };

impl Finding {
    /// Of planes in files of the same bytes.
    pub(super) fn identical_file() -> Self {
        Self::exact("bytes", Relation::IdenticalFile, "the files have the same bytes")
    }

    pub(super) fn of(a: &Plane, b: &Plane) -> Self {
        let shape = |plane: &Plane| (plane.height, plane.width, plane.n_samples, plane.samples.sample_type());
        if shape(a) == shape(b) && a.samples.as_bytes() == b.samples.as_bytes() {
            return Self::exact("pixels", Relation::IdenticalPixels, "the decoded samples are the same");
        }
        let [a, b] = [a, b].map(|plane| Prepared::new(plane, plane_features(plane)));
        let verdict = verify_prepared(&a, &b, &VerificationSettings::default());
        Self { stopped_at: verdict.stopped_at.name(), verdict: Ok(verdict), drawn: None }
    }

    fn exact(stopped_at: &'static str, relation: Relation, reason: &'static str) -> Self {
        Self { stopped_at, verdict: Err((relation, reason)), drawn: None }
    }

    /// Draws the planes that it was found of into a file.
    pub(super) fn draw(&mut self, [a, b]: [&Plane; 2], path: &Path) -> Result<(), FileError> {
        let [a, b] = [a, b].map(|plane| Prepared::new(plane, plane_features(plane)));
        let placement = match &self.verdict {
            Err(_) => Some((&IN_PLACE, false)),
            Ok(verdict) if matches!(verdict.relation, Relation::Blank | Relation::Distinct) => None,
            Ok(verdict) => verdict.placement.as_ref().map(|placement| (placement, verdict.is_inverted)),
        };
        let output = |message: String| FileError { kind: "output", message };
        let picture = Picture::draw(&a, &b, placement).map_err(|error| output(error.to_string()))?;
        std::fs::write(path, &picture.png)
            .map_err(|error| output(format!("cannot write {}: {error}", path.display())))?;
        self.drawn = Some(picture.common);
        Ok(())
    }

    pub(super) fn to_json(&self, args: &CompareArgs, planes: (PlaneIndex, PlaneIndex)) -> Value {
        let mut answer = pair_json(args, planes);
        answer["stopped_at"] = self.stopped_at.into();
        let evidence = Evidence::default();
        let (relation, confidence, reason, evidence) = match &self.verdict {
            Ok(verdict) => (verdict.relation, verdict.confidence, verdict.reason.as_str(), &verdict.evidence),
            Err((relation, reason)) => (*relation, 1.0, *reason, &evidence),
        };
        answer["relation"] = relation.name().into();
        answer["confidence"] = f64::from(confidence).into();
        answer["reason"] = reason.into();
        if let Ok(verdict) = &self.verdict {
            answer["is_inverted"] = verdict.is_inverted.into();
            if let Some(placement) = &verdict.placement {
                answer["orientation"] = placement.orientation_name().into();
                answer["scale"] = placement.scale.into();
                answer["shift_y_px"] = placement.shift_row_px.into();
                answer["shift_x_px"] = placement.shift_column_px.into();
            }
        }
        answer["evidence"] = json!(evidence);
        if let Some(code) = &evidence.code {
            answer["evidence"]["code"]["orientation"] = orientation_name(code.orientation).into();
        }
        if let (Some(path), Some(common)) = (&args.picture, self.drawn) {
            answer["picture"] = json!({
                "file": path.display().to_string(),
                "panels": if common.is_some() { &PANELS[..] } else { &PANELS[..2] },
                "common_height_px": common.map(|(height, _)| height),
                "common_width_px": common.map(|(_, width)| width),
            });
        }
        answer
    }

    pub(super) fn to_text(&self, args: &CompareArgs, (index_a, index_b): (PlaneIndex, PlaneIndex)) -> String {
        let mut text = format!("A {index_a}  {}\nB {index_b}  {}\n", args.a.display(), args.b.display());
        match &self.verdict {
            Err((relation, reason)) => text += &format!("  relation    {relation}\n  because     {reason}\n"),
            Ok(verdict) => text += &verdict_text(verdict),
        }
        if let (Some(path), Some(common)) = (&args.picture, self.drawn) {
            text += &match common {
                Some((height, width)) => format!(
                    "  picture     {}: A, B, difference, agreement of the noise; {height} x {width} pixels\n",
                    path.display()
                ),
                None => format!(
                    "  picture     {}: A and B as they are, no place is known where they agree\n",
                    path.display()
                ),
            };
        }
        text
    }
}

pub(super) fn pair_json(args: &CompareArgs, (index_a, index_b): (PlaneIndex, PlaneIndex)) -> Value {
    json!({
        "file_a": args.a.display().to_string(),
        "plane_a": index_a.to_string(),
        "file_b": args.b.display().to_string(),
        "plane_b": index_b.to_string(),
    })
}

fn orientation_name(orientation: u8) -> &'static str {
    ORIENTATION_NAMES[usize::from(orientation) % 8]
}

fn verdict_text(verdict: &Verdict) -> String {
    let Evidence { code, grey_map, texture, structure, refinement } = &verdict.evidence;
    let mut text = format!(
        "  relation    {} (confidence {:.2})\n  because     {}\n",
        verdict.relation, verdict.confidence, verdict.reason
    );
    let polarity = |is_inverted: bool| if is_inverted { ", dark and bright exchanged" } else { "" };
    if let Some(place) = &verdict.placement {
        text += &format!(
            "  place       B is A after {}, scale {:.3}, shift {:.1} rows and {:.1} columns{}\n",
            place.orientation_name(),
            place.scale,
            place.shift_row_px,
            place.shift_column_px,
            polarity(verdict.is_inverted)
        );
    }
    let or_none = |figure: Option<f32>| figure.map_or("none".to_owned(), |figure| format!("{figure:.3}"));
    let mut stage = |name: &str, figures: Option<String>| {
        text += &format!("  {name:<11} {}\n", figures.unwrap_or_else(|| "not run".to_owned()));
    };
    stage(
        "1 code",
        code.map(|code| {
            let orientation = orientation_name(code.orientation);
            format!("{} of 256 bits differ ({orientation}{})", code.distance, polarity(code.is_inverted))
        }),
    );
    stage(
        "2 grey map",
        grey_map.map(|map| {
            let exceptions = or_none(map.exceptions);
            format!("explains {:.3} of the block means, exceptions {exceptions}", map.r_squared)
        }),
    );
    stage(
        "3 texture",
        texture.map(|texture| {
            let (noise_a, noise_b) = (texture.noise_a, texture.noise_b);
            let octaves = texture.energy_distance_octaves;
            format!("noise {noise_a:.2} and {noise_b:.2} grey levels, details differ by {octaves:.1} octaves")
        }),
    );
    stage(
        "4 structure",
        structure.map(|found| format!("correlation {:.3}, overlap {:.2}", found.correlation, found.overlap)),
    );
    stage(
        "5 full size",
        refinement.map(|figures| {
            format!(
                "S {:.3}, R {} (coarse {}), Q {}, own noise {}, exceptions {}, overlap {:.2} and {:.2}",
                figures.s,
                or_none(figures.r),
                or_none(figures.r_coarse),
                or_none(figures.q),
                or_none(figures.own_noise),
                or_none(figures.exceptions),
                figures.overlap,
                figures.overlap_larger
            )
        }),
    );
    text
}
