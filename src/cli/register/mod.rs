//! `scopewatch register`: where does one field of nuclei lie in another?

mod answer;
mod points;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::analysis::optimizers::LossKind;
use crate::analysis::registration::fit::{
    COORDINATE_MAX, FitBounds, FitError, OptimizerChoice, fit_pairs_measured,
};
use crate::analysis::registration::{
    self, Field, FitSettings, Model, Orientation, Refusal, Registration, Settings, Warp, mirrored_pairs,
    residual_warp, simplest_model, widest_model,
};

use crate::platform::meter::StopWatch;
use crate::reports::{PairPicture, write_atomically};

use super::{Exit, Failure, say};
use answer::Answer;
use points::Points;

/// Registers two fields of nuclei, and tells how two optimizers got there
///
/// Finds which points belong together without being told, and refuses unrelated fields.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        scopewatch register --moving field_40x.csv --reference overview_10x.csv --scale-prior 0.25\n  \
        scopewatch register --moving a.csv --reference b.csv --pairs pairs.csv --model affine --loss cauchy --json")]
pub(super) struct RegisterArgs {
    /// Points to be mapped, CSV with the columns id, x, y in pixels
    #[arg(long, value_name = "FILE")]
    moving: PathBuf,
    /// Points they are mapped to, likewise
    #[arg(long, value_name = "FILE")]
    reference: PathBuf,
    /// Which points belong together, CSV with the columns moving, reference (ids): only the fit runs
    #[arg(long, value_name = "FILE")]
    pairs: Option<PathBuf>,
    /// Which transform
    #[arg(long, value_enum, default_value_t)]
    model: ModelArg,
    /// Whose solution is the transform; both optimizers run in any case
    #[arg(long, value_enum, default_value_t)]
    optimizer: OptimizerArg,
    /// Whether a smooth warp is looked for behind the transform, for two microscopes whose optics bend differently
    #[arg(long, value_enum, default_value_t)]
    warp: WarpArg,
    /// How much a large residual counts
    #[arg(long, value_enum, default_value_t)]
    loss: LossArg,
    /// Distance in reference pixels at which a robust loss starts to differ from the linear one
    #[arg(long, value_name = "PX", default_value_t = FitSettings::default().loss_scale_px, value_parser = positive)]
    loss_scale: f64,
    /// Bounds on scale (reference pixels per moving pixel) and rotation (degrees), scale=LO:HI,theta=LO:HI; either may
    /// be left out
    #[arg(long, value_name = "BOUNDS", value_parser = bounds)]
    bounds: Option<FitBounds>,
    /// Reference pixels per moving pixel: the ratio of the pixel sizes in micrometres; the true scale within 10 %
    #[arg(long, value_name = "SCALE", value_parser = positive)]
    scale_prior: Option<f64>,
    /// Rotation of the moving image in the reference, in degrees from x towards y, where it is known within 3 and nothing
    /// is mirrored: with --scale-prior right within 1.5 %, fields of which much was missed are found as well
    #[arg(long, value_name = "DEGREES", requires = "scale_prior", allow_negative_numbers = true, value_parser = degrees)]
    rotation_prior: Option<f64>,
    /// Draws the nuclei of both fields and how far partners are apart, magnified: an SVG file; none where they are refused
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Answer as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum ModelArg {
    /// Translation, rotation, one scale
    #[default]
    Similarity,
    /// Translation, rotation, two scales
    Anisotropic,
    /// Any linear map and a translation
    Affine,
    /// The simplest of the three that the pairs do not speak against (F tests, level 0.001)
    Auto,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum OptimizerArg {
    /// What `bench optimizers` bears out for the kind of problem, or the other one where it reaches a lower cost
    #[default]
    Auto,
    /// Levenberg-Marquardt
    LevenbergMarquardt,
    /// L-BFGS-B
    Lbfgsb,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum WarpArg {
    /// None
    Off,
    /// A thin-plate spline with few knots, where it lowers the cross-validated error
    #[default]
    Auto,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum LossArg {
    /// Least squares
    #[default]
    Linear,
    /// Grows like the distance, smoothly
    SoftL1,
    /// Least squares up to the loss scale, then the distance
    Huber,
    /// Wrong pairs hardly count
    Cauchy,
    /// Wrong pairs do not count
    Tukey,
}

impl RegisterArgs {
    fn settings(&self) -> Settings {
        let model = match self.model {
            ModelArg::Similarity | ModelArg::Auto => Model::Similarity,
            ModelArg::Anisotropic => Model::Anisotropic,
            ModelArg::Affine => Model::Affine,
        };
        let loss = match self.loss {
            LossArg::Linear => LossKind::Linear,
            LossArg::SoftL1 => LossKind::SoftL1,
            LossArg::Huber => LossKind::Huber,
            LossArg::Cauchy => LossKind::Cauchy,
            LossArg::Tukey => LossKind::Tukey,
        };
        let bounds = self.bounds.unwrap_or_default();
        let optimizer = match self.optimizer {
            OptimizerArg::Auto => OptimizerChoice::Auto,
            OptimizerArg::LevenbergMarquardt => OptimizerChoice::LevenbergMarquardt,
            OptimizerArg::Lbfgsb => OptimizerChoice::Lbfgsb,
        };
        let loss_scale_px = self.loss_scale;
        let fit = FitSettings { model, loss, loss_scale_px, bounds, optimizer, ..Default::default() };
        let orientation_prior = self
            .rotation_prior
            .map(|degrees| Orientation { rotation_rad: degrees.to_radians(), mirrored: false });
        let choose_model = self.model == ModelArg::Auto;
        let warp = self.warp == WarpArg::Auto;
        Settings { scale_prior: self.scale_prior, orientation_prior, fit, choose_model, warp }
    }
}

fn positive(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value: &f64| *value > 0.0 && *value <= COORDINATE_MAX);
    value.ok_or_else(|| format!("expected a number above 0, at most {COORDINATE_MAX:e}"))
}

fn degrees(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value: &f64| value.abs() <= 360.0);
    value.ok_or_else(|| "expected degrees from -360 to 360".to_owned())
}

/// Reads `scale=LO:HI,theta=LO:HI`, theta in degrees.
fn bounds(text: &str) -> Result<FitBounds, String> {
    let mut bounds = FitBounds::default();
    for part in text.split(',') {
        let (name, range) = part.split_once('=').unwrap_or((part, ""));
        let number = |text: &str| text.trim().parse().ok().filter(|value: &f64| value.is_finite());
        let range = range.split_once(':').and_then(|(low, high)| Some([number(low)?, number(high)?]));
        let range = range.filter(|[low, high]| low <= high);
        match (name.trim(), range) {
            ("scale", Some([low, high])) if low > 0.0 => bounds.scale = Some([low, high]),
            ("theta", Some(degrees)) => bounds.theta_rad = Some(degrees.map(f64::to_radians)),
            ("scale", _) => return Err(format!("expected scale=LO:HI with 0 < LO <= HI, found {part:?}")),
            ("theta", _) => {
                return Err(format!("expected theta=LO:HI in degrees with LO <= HI, found {part:?}"));
            }
            _ => return Err(format!("expected scale=LO:HI or theta=LO:HI, found {part:?}")),
        }
    }
    Ok(bounds)
}

pub(super) fn main(args: &RegisterArgs) -> Result<Exit, Failure> {
    let settings = args.settings();
    if settings.fit.model == Model::Affine && args.bounds.is_some() {
        return Err(Failure::usage(anyhow::anyhow!(
            "--bounds needs --model similarity or anisotropic: an affine transform has no single scale or rotation"
        )));
    }
    let unreadable = |error| Failure { exit: Exit::Unreadable, error };
    let moving = Points::read(&args.moving).map_err(unreadable)?;
    let reference = Points::read(&args.reference).map_err(unreadable)?;
    let pairs = args.pairs.as_ref().map(|file| points::read_pairs(file, &moving, &reference));
    let answer = match pairs.transpose().map_err(unreadable)? {
        Some(pairs) => fit_given(&moving, &reference, pairs, &settings),
        None => register(&moving, &reference, &settings)?,
    };
    if let (Some(path), Ok(registered)) = (&args.picture, &answer.registered) {
        write_atomically(path, picture(args, [&moving, &reference], registered).as_bytes())?;
    }
    let model = match &answer.registered {
        Ok(registered) => Some(registered.model),
        Err(_) => (!settings.choose_model).then_some(settings.fit.model),
    };
    let answer = Answer { moving: &moving, reference: &reference, model, outcome: answer };
    say(&if args.json { format!("{}\n", answer.to_json()) } else { answer.to_text() })?;
    Ok(Exit::Done)
}

fn picture(args: &RegisterArgs, [moving, reference]: [&Points; 2], registered: &Registered) -> String {
    let names = [&args.moving, &args.reference].map(|path| path.display().to_string());
    let picture = PairPicture {
        names: [&names[0], &names[1]],
        moving: &moving.places,
        reference: &reference.places,
        pairs: &registered.pairs,
        reference_from_moving: registered.fit.reference_from_moving,
        pixel_size_um: None,
    };
    picture.to_svg()
}

/// What came out: of given pairs nobody asks whether they are chance.
struct Outcome {
    log10_chance: Option<f64>,
    registered: Result<Registered, String>,
}

struct Registered {
    mirrored: bool,
    pairs: Vec<(usize, usize)>,
    model: Model,
    fit: registration::Fit,
    costs: registration::FitCosts,
    warp: Option<Warp>,
}

fn register(moving: &Points, reference: &Points, settings: &Settings) -> anyhow::Result<Outcome> {
    let field = |points: &Points, which: &str| Field::new(&points.places).context(format!("{which} points"));
    let [moving, reference] = [field(moving, "moving")?, field(reference, "reference")?];
    Ok(match registration::register(&moving, &reference, settings, &mut StopWatch::default()) {
        Ok(Registration { log10_chance, mirrored, pairs, model, fit, costs, warp }) => Outcome {
            log10_chance: Some(log10_chance),
            registered: Ok(Registered { mirrored, pairs, model, fit, costs, warp }),
        },
        Err(refusal) => refused(&refusal),
    })
}

fn refused(refusal: &Refusal) -> Outcome {
    Outcome { log10_chance: refusal.log10_chance(), registered: Err(refusal.to_string()) }
}

fn fit_given(
    moving: &Points,
    reference: &Points,
    pairs: Vec<(usize, usize)>,
    settings: &Settings,
) -> Outcome {
    let (from, to): (Vec<_>, Vec<_>) =
        pairs.iter().map(|&(m, r)| (moving.places[m], reference.places[r])).unzip();
    let mirrored = mirrored_pairs(&from, &to);
    let mut fit = FitSettings { mirrored, ..settings.fit.clone() };
    if settings.choose_model {
        fit.model = simplest_model(&from, &to, mirrored, widest_model(&fit.bounds));
    }
    let model = fit.model;
    fit.start.scale = settings.scale_prior;
    let fitted: Result<_, FitError> = fit_pairs_measured(&from, &to, &fit, &mut StopWatch::default());
    Outcome {
        log10_chance: None,
        registered: fitted
            .map(|(fit, costs)| {
                let warp = settings.warp.then(|| residual_warp(&from, &to, &fit.reference_from_moving));
                Registered { mirrored, pairs, model, fit, costs, warp: warp.flatten() }
            })
            .map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_in_degrees_and_in_either_order() {
        let both = bounds("theta=-90:90,scale=0.2:0.3").unwrap();
        assert_eq!(both.scale, Some([0.2, 0.3]));
        assert_eq!(both.theta_rad, Some([-std::f64::consts::FRAC_PI_2, std::f64::consts::FRAC_PI_2]));
        assert_eq!(bounds("scale=1:1").unwrap().theta_rad, None);
        assert_eq!(degrees("-12.5"), Ok(-12.5));
        assert!(degrees("361").is_err() && degrees("nan").is_err());
        for bad in ["", "scale", "scale=0:1", "scale=2:1", "theta=1", "theta=a:b", "size=1:2", "theta=0:inf"]
        {
            assert!(bounds(bad).unwrap_err().starts_with("expected "), "{bad}");
        }
    }
}
