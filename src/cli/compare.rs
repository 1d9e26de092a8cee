//! `scopewatch compare`: what are these two files to each other, and why?

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::analysis::hashing::{ORIENTATION_NAMES, plane_features};
use crate::analysis::verification::{Evidence, Relation, Verdict, VerificationSettings, verify};
use crate::formats::{self, Container, Limits, Plane};
use crate::units::PlaneIndex;

use super::file_error::{FileError, guarded};
use super::{Exit, Failure, say};

/// Compares two image files and shows the evidence of every stage of the verification
#[derive(Debug, Args)]
#[command(
    after_help = "Planes of equal index are compared, each with a line of its own, unless --plane-a and --plane-b name one.\n\nExamples:\n  scopewatch compare B02_s1.tif export/B02_s1.jpg\n  scopewatch compare run1.nd2 run2.nd2 --plane-a t0p3z0c0 --plane-b t0p4z0c0 --json"
)]
pub(super) struct CompareArgs {
    /// First image file
    #[arg(value_name = "A")]
    a: PathBuf,
    /// Second image file
    #[arg(value_name = "B")]
    b: PathBuf,
    /// Plane of A, such as t0p0z0c0
    #[arg(long, value_name = "PLANE")]
    plane_a: Option<PlaneIndex>,
    /// Plane of B; default that of A
    #[arg(long, value_name = "PLANE")]
    plane_b: Option<PlaneIndex>,
    /// Answer as one JSON object per pair of planes
    #[arg(long)]
    json: bool,
}

pub(super) fn main(args: &CompareArgs) -> Result<Exit, Failure> {
    let opened = (|| Ok((InFile::open(&args.a)?, InFile::open(&args.b)?)))();
    let (mut a, mut b) = match opened {
        Ok(files) => files,
        Err(error) => return answer_error(args, &error),
    };
    let same_bytes = match same_bytes(&args.a, &args.b) {
        Ok(same_bytes) => same_bytes,
        Err(error) => return answer_error(args, &error),
    };
    let pairs = pairs(&a, &b, (args.plane_a, args.plane_b)).map_err(Failure::usage)?;
    let mut exit = Exit::Done;
    for (index_a, index_b) in pairs {
        let finding = guarded(|| {
            if same_bytes && index_a == index_b {
                return Ok(Finding::exact(Relation::IdenticalFile, "the files have the same bytes"));
            }
            Ok(compare(&a.read(index_a)?, &b.read(index_b)?))
        });
        let planes = (index_a, index_b);
        match finding {
            Ok(finding) if args.json => say(&format!("{}\n", finding.to_json(args, planes)))?,
            Ok(finding) => say(&finding.to_text(args, planes))?,
            Err(error) => {
                exit = Exit::Unreadable;
                if args.json {
                    let mut answer = pair_json(args, planes);
                    answer["error"] = error.to_json();
                    say(&format!("{answer}\n"))?;
                } else {
                    eprintln!("{index_a} and {index_b}: {}", error.message);
                }
            }
        }
    }
    Ok(exit)
}

fn answer_error(args: &CompareArgs, (file, error): &(PathBuf, FileError)) -> Result<Exit, Failure> {
    if args.json {
        let answer = json!({ "file": file.display().to_string(), "error": error.to_json() });
        say(&format!("{answer}\n"))?;
    } else {
        eprintln!("{}: {}", file.display(), error.message);
    }
    Ok(error.exit())
}

/// An opened file and the planes in it.
struct InFile {
    container: Box<dyn Container>,
    planes: Vec<PlaneIndex>,
}

impl InFile {
    fn open(path: &Path) -> Result<Self, (PathBuf, FileError)> {
        let open = || {
            let container = formats::open(Box::new(File::open(path)?), &Limits::default())?;
            let planes =
                container.planes().iter().filter(|plane| !plane.missing).map(|plane| plane.index).collect();
            Ok(Self { container, planes })
        };
        guarded(open).map_err(|error| (path.to_owned(), error))
    }

    fn read(&mut self, index: PlaneIndex) -> Result<Plane, FileError> {
        let place = self.container.planes().iter().position(|plane| plane.index == index);
        Ok(self.container.read_plane(place.expect("the index was taken from this container"))?)
    }
}

/// Which planes to compare.
fn pairs(
    a: &InFile,
    b: &InFile,
    (plane_a, plane_b): (Option<PlaneIndex>, Option<PlaneIndex>),
) -> anyhow::Result<Vec<(PlaneIndex, PlaneIndex)>> {
    let known = |file: &InFile, name: &str, plane: PlaneIndex| {
        anyhow::ensure!(file.planes.contains(&plane), "{name} has no plane {plane}; see scopewatch inspect");
        Ok(plane)
    };
    match (plane_a, plane_b) {
        (Some(in_a), Some(in_b)) => Ok(vec![(known(a, "A", in_a)?, known(b, "B", in_b)?)]),
        (Some(in_a), None) => {
            Ok(vec![(known(a, "A", in_a)?, only(b).map_or_else(|| known(b, "B", in_a), Ok)?)])
        }
        (None, Some(in_b)) => {
            Ok(vec![(only(a).map_or_else(|| known(a, "A", in_b), Ok)?, known(b, "B", in_b)?)])
        }
        (None, None) => {
            if let (Some(in_a), Some(in_b)) = (only(a), only(b)) {
                return Ok(vec![(in_a, in_b)]);
            }
            let common: Vec<_> = a
                .planes
                .iter()
                .filter(|plane| b.planes.contains(plane))
                .map(|&plane| (plane, plane))
                .collect();
            anyhow::ensure!(
                !common.is_empty(),
                "no plane has the same index in both: give --plane-a and --plane-b"
            );
            Ok(common)
        }
    }
}

/// The plane of a file that has one.
fn only(file: &InFile) -> Option<PlaneIndex> {
    if let [plane] = file.planes[..] { Some(plane) } else { None }
}

/// Whether two files hold the same bytes; an error comes with the file that it is about.
fn same_bytes(a: &Path, b: &Path) -> Result<bool, (PathBuf, FileError)> {
    let in_a = |error: std::io::Error| (a.to_owned(), error.into());
    let in_b = |error: std::io::Error| (b.to_owned(), error.into());
    let open = |path: &Path| -> std::io::Result<_> {
        let file = File::open(path)?;
        Ok((file.metadata()?.len(), BufReader::with_capacity(1 << 16, file)))
    };
    let ((n_bytes_a, mut from_a), (n_bytes_b, mut from_b)) = (open(a).map_err(in_a)?, open(b).map_err(in_b)?);
    if n_bytes_a != n_bytes_b {
        return Ok(false);
    }
    loop {
        let (some, other) = (from_a.fill_buf().map_err(in_a)?, from_b.fill_buf().map_err(in_b)?);
        let n_bytes = some.len().min(other.len());
        if some[..n_bytes] != other[..n_bytes] || n_bytes == 0 {
            return Ok(some.is_empty() && other.is_empty());
        }
        from_a.consume(n_bytes);
        from_b.consume(n_bytes);
    }
}

/// What was found of a pair of planes, and the last stage that was run.
struct Finding {
    stopped_at: &'static str,
    verdict: Result<Verdict, (Relation, &'static str)>,
}

fn compare(a: &Plane, b: &Plane) -> Finding {
    let shape = |plane: &Plane| (plane.height, plane.width, plane.n_samples, plane.samples.sample_type());
    if shape(a) == shape(b) && a.samples.as_bytes() == b.samples.as_bytes() {
        return Finding::exact(Relation::IdenticalPixels, "the decoded samples are the same");
    }
    let features = (plane_features(a), plane_features(b));
    let verdict = verify(a, b, (&features.0, &features.1), &VerificationSettings::default());
    Finding { stopped_at: verdict.stopped_at.name(), verdict: Ok(verdict) }
}

impl Finding {
    fn exact(relation: Relation, reason: &'static str) -> Self {
        let stopped_at = if relation == Relation::IdenticalFile { "bytes" } else { "pixels" };
        Self { stopped_at, verdict: Err((relation, reason)) }
    }

    fn to_json(&self, args: &CompareArgs, planes: (PlaneIndex, PlaneIndex)) -> Value {
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
        answer
    }

    fn to_text(&self, args: &CompareArgs, (index_a, index_b): (PlaneIndex, PlaneIndex)) -> String {
        let mut text = format!("A {index_a}  {}\nB {index_b}  {}\n", args.a.display(), args.b.display());
        match &self.verdict {
            Err((relation, reason)) => text += &format!("  relation    {relation}\n  because     {reason}\n"),
            Ok(verdict) => text += &verdict_text(verdict),
        }
        text
    }
}

fn pair_json(args: &CompareArgs, (index_a, index_b): (PlaneIndex, PlaneIndex)) -> Value {
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
