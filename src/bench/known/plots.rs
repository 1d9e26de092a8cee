//! Draws what the comparison on known pairs has found.

use crate::analysis::benchmark::findings::{ACCURACY_INDEX, KnownGroup, KnownResult, SOLVER_TITLES};
use crate::analysis::benchmark::known::{BoxChoice, KnownCell, KnownTrial, StartChoice};
use crate::analysis::benchmark::profiles::{self, Efforts};
use crate::analysis::benchmark::statistics::median;
use crate::analysis::optimizers::LossKind;
use crate::analysis::registration::Model;
use crate::bench::plot::{Plot, Series, Style};
use crate::bench::report::word;

/// The plots of the comparison, each with the name of its file.
pub(super) fn of(results: &[KnownResult], groups: &[KnownGroup]) -> Vec<(&'static str, Plot)> {
    let passes: Vec<Efforts> = results
        .iter()
        .flat_map(|result| &result.trials)
        .map(|trial| [0, 1].map(|solver| trial.solvers[solver].passes_to[ACCURACY_INDEX].map(f64::from)))
        .collect();
    let times: Vec<Efforts> = results.iter().map(|result| result.time_us.map(Some)).collect();
    let per_parameter: Vec<Efforts> = results
        .iter()
        .flat_map(|result| result.trials.iter().map(move |trial| (result.cell.model, trial)))
        .map(|(model, trial): (Model, &KnownTrial)| {
            let units = 1.0 + model.n_parameters() as f64;
            [0, 1].map(|solver| {
                trial.solvers[solver].passes_to[ACCURACY_INDEX].map(|passes| f64::from(passes) / units)
            })
        })
        .collect();
    vec![
        (
            "performance_passes",
            profile(
                "Performance profile, passes",
                "times the passes of the better one",
                profiles::performance(&passes),
            ),
        ),
        (
            "performance_time",
            profile(
                "Performance profile, time",
                "times the time of the quicker one",
                profiles::performance(&times),
            ),
        ),
        (
            "data_profile",
            profile("Data profile", "passes by (parameters + 1)", profiles::data(&per_parameter)),
        ),
        ("convergence_nominal", convergence(groups, StartChoice::Nominal)),
        ("convergence_poor", convergence(groups, StartChoice::Poor)),
        ("tre_points", tre_by_points(results)),
        ("tre_noise", tre_by_noise(results)),
    ]
}

fn profile(title: &str, x_label: &str, steps: [profiles::Steps; 2]) -> Plot {
    let series = steps.into_iter().enumerate();
    Plot {
        title: title.to_owned(),
        x_label: x_label.to_owned(),
        y_label: "share of fits solved".to_owned(),
        is_log: [true, false],
        y_range: Some([0.0, 1.0]),
        series: series.map(|(n, points)| self::series(SOLVER_TITLES[n], Style::Steps, n, points)).collect(),
    }
}

/// Medians over the trials without a box.
fn convergence(groups: &[KnownGroup], start: StartChoice) -> Plot {
    let mut drawn = vec![];
    let free = groups.iter().filter(|group| group.start == start && group.bounds == BoxChoice::Free);
    for group in free {
        let style = if group.loss == LossKind::Linear { Style::Line } else { Style::Dashed };
        for (solver, curve) in group.curves.iter().enumerate() {
            let name = format!("{}, {} loss", SOLVER_TITLES[solver], word(&group.loss));
            let points = curve.iter().enumerate().map(|(pass, left)| [(pass + 1) as f64, left.max(1e-14)]);
            drawn.push(series(&name, style, solver, points.collect()));
        }
    }
    Plot {
        title: format!("Convergence from a {} start (medians)", word(&start)),
        x_label: "passes over the data".to_owned(),
        y_label: "what is left of the cost".to_owned(),
        is_log: [false, true],
        y_range: None,
        series: drawn,
    }
}

/// Median errors of the similarity fitted by least squares to pairs without wrong ones, by what `key` says of a cell.
fn tre_medians(
    results: &[KnownResult],
    is_member: &dyn Fn(&KnownCell) -> bool,
    key: &dyn Fn(&KnownCell) -> f64,
) -> [Vec<[f64; 2]>; 2] {
    let is_plain = |cell: &KnownCell| {
        cell.wrong_share == 0.0
            && cell.loss == LossKind::Linear
            && cell.model == Model::Similarity
            && cell.start == StartChoice::Nominal
            && cell.bounds == BoxChoice::Free
    };
    [0, 1].map(|solver| {
        let members = results.iter().filter(|result| is_plain(&result.cell) && is_member(&result.cell));
        let point = |result: &KnownResult| {
            let squares: Vec<_> =
                result.trials.iter().map(|trial| trial.solvers[solver].tre_px.powi(2)).collect();
            let mean = squares.iter().sum::<f64>() / squares.len().max(1) as f64;
            [key(&result.cell), mean.sqrt()]
        };
        members.map(point).collect()
    })
}

/// The expected error: `sigma sqrt(p / n)`.
fn tre_expected(noise_px: f64, n_pairs: f64) -> f64 {
    noise_px * (Model::Similarity.n_parameters() as f64 / n_pairs).sqrt()
}

fn tre_by_points(results: &[KnownResult]) -> Plot {
    let noises: Vec<_> =
        results.iter().map(|result| result.cell.noise_px).filter(|noise| *noise > 0.0).collect();
    let noise_px = median(&noises).unwrap_or(1.0);
    // the noise of the grid that is nearest to the median
    let noise_px = noises
        .into_iter()
        .min_by(|a, b| (a - noise_px).abs().total_cmp(&(b - noise_px).abs()))
        .unwrap_or(1.0);
    let found = tre_medians(results, &|cell| cell.noise_px == noise_px, &|cell| cell.n_pairs as f64);
    let theory = found[0].iter().map(|[n, _]| [*n, tre_expected(noise_px, *n)]).collect();
    tre_plot(&format!("Error by pairs, noise {noise_px} px"), "pairs", found, theory)
}

fn tre_by_noise(results: &[KnownResult]) -> Plot {
    let n_pairs =
        results.iter().map(|result| result.cell.n_pairs).min_by_key(|n| n.abs_diff(500)).unwrap_or(1);
    let found =
        tre_medians(results, &|cell| cell.n_pairs == n_pairs && cell.noise_px > 0.0, &|cell| cell.noise_px);
    let theory = found[0].iter().map(|[noise, _]| [*noise, tre_expected(*noise, n_pairs as f64)]).collect();
    tre_plot(&format!("Error by noise, {n_pairs} pairs"), "noise in px of the reference", found, theory)
}

fn tre_plot(title: &str, x_label: &str, [lbfgsb, lm]: [Vec<[f64; 2]>; 2], theory: Vec<[f64; 2]>) -> Plot {
    Plot {
        title: title.to_owned(),
        x_label: x_label.to_owned(),
        y_label: "root mean square error in px".to_owned(),
        is_log: [true, true],
        y_range: None,
        series: vec![
            series("expected, sigma sqrt(4 / n)", Style::Dashed, 6, theory),
            series(SOLVER_TITLES[0], Style::Points, 0, lbfgsb),
            series(SOLVER_TITLES[1], Style::Points, 1, lm),
        ],
    }
}

fn series(name: &str, style: Style, colour: usize, points: Vec<[f64; 2]>) -> Series {
    Series { name: name.to_owned(), style, points, whiskers: vec![], colour }
}
