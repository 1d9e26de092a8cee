//! How robust the registration is, and how far unrelated fields stay from the limit: the tables of `docs/figures.md`.
//!
//!     cargo run --release --example registration_grid -- [--trials 12] [--unrelated 2000] [--seed 1] [TABLE.csv...]
//!
//! Tables with the columns `x10, y10` (centres of nuclei, pixels) are fields of real wells: of each, discs are cut out and
//! looked for in the part of the table beside them, and in the other tables.

use std::collections::BTreeMap;

use rayon::prelude::*;
use scopewatch::analysis::benchmark::findings::unknown_summary;
use scopewatch::analysis::benchmark::scene::{CAMERA_PX, NOMINAL_SCALE, Scene};
use scopewatch::analysis::benchmark::statistics::{quantile, share_max_of_none, wilson};
use scopewatch::analysis::benchmark::unknown::{
    NOISE_PX, UnknownCell, UnknownTrial, oriented_cells, related_cells, unrelated_cells,
    unrelated_oriented_cells,
};
use scopewatch::analysis::registration::{
    Expected, Field, Orientation, Settings, match_fields, register_near,
};
use scopewatch::analysis::synthesis::Random;
use scopewatch::geometry::Affine;

const N_NUCLEI: [usize; 2] = [2500, 10_000];
/// Nuclei of a disc that is cut out of a real table, about: those of a finer field.
const N_DISC: f64 = 160.0;
/// Between a disc and the part of the table beside it, in px.
const GAP_PX: f64 = 5.0;

struct Arguments {
    n_trials: usize,
    n_unrelated: usize,
    seed: u64,
    tables: Vec<String>,
}

fn arguments() -> Arguments {
    let mut arguments = Arguments { n_trials: 12, n_unrelated: 2000, seed: 1, tables: vec![] };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|word| word.parse().ok()).expect("a number follows");
        match word.as_str() {
            "--trials" => arguments.n_trials = number(),
            "--unrelated" => arguments.n_unrelated = number(),
            "--seed" => arguments.seed = number() as u64,
            _ => arguments.tables.push(word),
        }
    }
    arguments
}

fn main() {
    let arguments = arguments();
    println!(
        "| what varies | value | 2,500 nuclei: right | wrong | error px | 10,000: right | wrong | error px |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let cells = |n: usize| [related_cells(n, &NOISE_PX), oriented_cells(n)].concat();
    for (index, pair) in cells(N_NUCLEI[0]).iter().zip(cells(N_NUCLEI[1])).enumerate() {
        let columns = [*pair.0, pair.1].map(|cell| {
            let summary = unknown_summary(&cell, &run(&cell, index, arguments.n_trials, arguments.seed));
            let error = summary.tre_median_px.map_or("-".to_owned(), |error| format!("{error:.2}"));
            format!("{} of {} | {} | {error}", summary.n_right, summary.n_trials, summary.n_wrong)
        });
        println!("| {} | {} | {} | {} |", pair.0.factor.name(), pair.0.value, columns[0], columns[1]);
    }
    println!();
    println!("| unrelated pairs | nuclei | pairs | accepted | at most (95 %) | nearest | 1 % | median |");
    println!("|---|---|---|---|---|---|---|---|");
    for n in N_NUCLEI {
        let mut chances = BTreeMap::<&str, Vec<f64>>::new();
        let mut n_accepted = BTreeMap::<&str, usize>::new();
        for (cells, n_pairs) in [
            (unrelated_cells(n), arguments.n_unrelated),
            (unrelated_oriented_cells(n), arguments.n_unrelated / 4),
        ] {
            for (index, cell) in cells.iter().enumerate() {
                let name = cell.factor.name();
                for trial in run(cell, 1000 + index, n_pairs / cells.len(), arguments.seed) {
                    chances.entry(name).or_default().push(trial.log10_chance.unwrap_or(f64::INFINITY));
                    *n_accepted.entry(name).or_default() += usize::from(trial.is_accepted);
                }
            }
        }
        for (name, chances) in &chances {
            print_unrelated(name, &n.to_string(), chances, n_accepted[name]);
        }
    }
    near(&arguments);
    let tables: Vec<Vec<[f64; 2]>> = arguments.tables.iter().map(|path| read(path)).collect();
    if !tables.is_empty() {
        real(&tables, &arguments);
    }
}

fn run(cell: &UnknownCell, index: usize, n_trials: usize, seed: u64) -> Vec<UnknownTrial> {
    let trial = |trial: usize| {
        let seed = Random::of(&[seed, cell.scene.n as u64, index as u64, trial as u64]).bits();
        cell.run(seed, &mut ()).expect("points of a scene are sound")
    };
    (0..n_trials).into_par_iter().map(trial).collect()
}

fn print_unrelated(name: &str, nuclei: &str, chances: &[f64], n_accepted: usize) {
    let n = chances.len();
    let bound = if n_accepted == 0 { share_max_of_none(n) } else { wilson(n_accepted, n)[1] };
    let [nearest, first, median] = [0.0, 0.01, 0.5].map(|share| {
        quantile(chances, share)
            .filter(|chance| chance.is_finite())
            .map_or("-".to_owned(), |chance| format!("{chance:.1}"))
    });
    println!(
        "| {name} | {nuclei} | {n} | {n_accepted} | {:.2} % | {nearest} | {first} | {median} |",
        100.0 * bound
    );
}

/// Nuclei of a fine field, about, and how far it may be from where its well puts it, in px of the overview (6.5 to 26 um).
const N_IN_FIELD: [usize; 7] = [6, 8, 10, 14, 20, 40, 160];
const RADII_PX: [f64; 2] = [16.0, 40.0];
const NEAR_TURN_RAD: f64 = 0.003;

/// Fields of few nuclei, looked for by themselves and where their well puts them; and unrelated ones.
fn near(arguments: &Arguments) {
    println!();
    println!(
        "| nuclei in the field | expected within px | by itself | where expected | wrong | unrelated accepted | nearest |"
    );
    println!("|---|---|---|---|---|---|---|");
    let mut n_unrelated = 0;
    let mut n_accepted = 0;
    let mut chances = vec![];
    for n_in_field in N_IN_FIELD {
        for radius_px in RADII_PX {
            let trial = |overlap: f64, trial: usize| {
                let key = [
                    arguments.seed,
                    n_in_field as u64,
                    radius_px as u64,
                    u64::from(overlap > 0.0),
                    trial as u64,
                ];
                near_trial(n_in_field, radius_px, overlap, &mut Random::of(&key))
            };
            let n_trials = 20 * arguments.n_trials;
            let related: Vec<NearTrial> = (0..n_trials).into_par_iter().map(|n| trial(1.0, n)).collect();
            // half of them neighbours in one well
            let overlap = |n: usize| if n.is_multiple_of(2) { 0.0 } else { -0.25 };
            let n_pairs = arguments.n_unrelated / 4;
            let unrelated: Vec<NearTrial> =
                (0..n_pairs).into_par_iter().map(|n| trial(overlap(n), n)).collect();
            let count =
                |of: &[NearTrial], is: fn(&NearTrial) -> bool| of.iter().filter(|trial| is(trial)).count();
            let own: Vec<f64> = unrelated.iter().map(|trial| trial.log10_chance).collect();
            let nearest = quantile(&own, 0.0).filter(|chance| chance.is_finite());
            let nearest = nearest.map_or("-".to_owned(), |chance| format!("{chance:.1}"));
            println!(
                "| {n_in_field} | {radius_px} | {:.0} % | {:.0} % | {} | {} of {n_pairs} | {nearest} |",
                100.0 * count(&related, |trial| trial.is_found_alone) as f64 / n_trials as f64,
                100.0 * count(&related, |trial| trial.is_right) as f64 / n_trials as f64,
                count(&related, |trial| trial.is_accepted && !trial.is_right),
                count(&unrelated, |trial| trial.is_accepted),
            );
            n_unrelated += n_pairs;
            n_accepted += count(&unrelated, |trial| trial.is_accepted);
            chances.extend(own);
        }
    }
    println!();
    print_unrelated("unrelated, expected there", "100 to 2,500", &chances, n_accepted);
    let at_most = |limit: f64| chances.iter().filter(|chance| **chance <= limit).count();
    println!(
        "of {n_unrelated}: {} at most -1, {} at most -2, {} at most -3",
        at_most(-1.0),
        at_most(-2.0),
        at_most(-3.0)
    );
}

struct NearTrial {
    is_found_alone: bool,
    is_accepted: bool,
    is_right: bool,
    log10_chance: f64,
}

/// A field that its well puts up to `radius_px` away from where it lies.
fn near_trial(n_in_field: usize, radius_px: f64, overlap: f64, random: &mut Random) -> NearTrial {
    // the fine camera sees a sixteenth of the overview
    let views = Scene { n: 16 * n_in_field, overlap, seed: random.bits(), ..Scene::default() }.views();
    let [moving, reference] =
        [&views.moving, &views.reference].map(|points| Field::new(points).expect("points are sound"));
    let truth = views.reference_from_moving;
    let parts = truth.decompose();
    let turn = NEAR_TURN_RAD * (2.0 * random.uniform() - 1.0);
    let scale = parts.scale * (1.0 + NEAR_TURN_RAD * (2.0 * random.uniform() - 1.0));
    let linear = Affine::similarity(scale, parts.rotation_rad + turn, parts.mirrored, [0.0; 2]);
    let middle = [CAMERA_PX / 2.0; 2];
    let (away, direction) = (radius_px * random.uniform().sqrt(), std::f64::consts::TAU * random.uniform());
    let ([to_x, to_y], [x, y]) = (truth.apply(middle), linear.apply(middle));
    let shift = [to_x - x + away * direction.cos(), to_y - y + away * direction.sin()];
    let expected = Expected {
        reference_from_moving: Affine::from_parts(linear.linear(), shift),
        radius_px,
        rotation_tolerance_rad: 0.01,
        scale_tolerance: 0.01,
    };
    let alone = Settings { scale_prior: Some(NOMINAL_SCALE), ..Settings::default() };
    let is_right = |map: &Affine| {
        let error = |corner: [f64; 2]| {
            let ([x, y], [u, v]) = (map.apply(corner), truth.apply(corner));
            (x - u).hypot(y - v)
        };
        let corners = [[0.0, 0.0], [CAMERA_PX, 0.0], [0.0, CAMERA_PX], [CAMERA_PX, CAMERA_PX]];
        corners.into_iter().map(error).fold(0.0, f64::max) <= 3.0
    };
    let is_found_alone =
        match_fields(&moving, &reference, &alone).is_ok_and(|found| is_right(&found.reference_from_moving));
    let near = register_near(&moving, &reference, &expected, &Settings::default(), &mut ());
    let log10_chance = match &near {
        Ok(found) => found.log10_chance,
        Err(refusal) => refusal.log10_chance().unwrap_or(f64::INFINITY),
    };
    let is_right = near.as_ref().is_ok_and(|found| is_right(&found.fit.reference_from_moving));
    NearTrial { is_found_alone, is_accepted: near.is_ok(), is_right, log10_chance }
}

/// The columns `x10` and `y10` of a table.
fn read(path: &str) -> Vec<[f64; 2]> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let columns = ["x10", "y10"].map(|name| {
        header.iter().position(|column| *column == name).unwrap_or_else(|| panic!("{path}: no column {name}"))
    });
    let point = |line: &str| -> Option<[f64; 2]> {
        let fields: Vec<&str> = line.split(',').collect();
        let [x, y] = columns.map(|column| fields.get(column).and_then(|field| field.parse().ok()));
        Some([x?, y?])
    };
    lines.filter_map(point).collect()
}

/// Discs of real fields, looked for beside them and in the other tables; with and without a known orientation.
fn real(tables: &[Vec<[f64; 2]>], arguments: &Arguments) {
    for (name, is_neighbour) in [("real neighbouring field", true), ("real other well", false)] {
        for is_oriented in [false, true] {
            let n_pairs = if is_oriented { arguments.n_unrelated / 4 } else { arguments.n_unrelated / 2 };
            let pair = |trial: usize| {
                let mut random = Random::of(&[arguments.seed, u64::from(is_neighbour), trial as u64]);
                let table = trial % tables.len();
                let other = &tables[(table + 1) % tables.len()];
                real_pair(&tables[table], (!is_neighbour).then_some(other), is_oriented, &mut random)
            };
            let results: Vec<(bool, f64)> = (0..n_pairs).into_par_iter().map(pair).collect();
            let n_accepted = results.iter().filter(|(is_accepted, _)| *is_accepted).count();
            let chances: Vec<f64> = results.iter().map(|(_, chance)| *chance).collect();
            let name = if is_oriented { format!("{name}, oriented") } else { name.to_owned() };
            print_unrelated(&name, "1,000 to 2,000", &chances, n_accepted);
        }
    }
}

/// Cuts a disc out of a table, as a finer camera with its faults would see it, and looks for it in the greater part of
/// the table beside it, or in another table. Returns whether it was accepted, and the chance.
fn real_pair(
    table: &[[f64; 2]],
    other: Option<&Vec<[f64; 2]>>,
    is_oriented: bool,
    random: &mut Random,
) -> (bool, f64) {
    let high = [0, 1].map(|axis| table.iter().map(|point| point[axis]).fold(0.0, f64::max));
    let radius = (N_DISC / std::f64::consts::PI * high[0] * high[1] / table.len() as f64).sqrt();
    let centre = high.map(|high| radius + random.uniform() * (high - 2.0 * radius).max(0.0));
    let theta_rad = if is_oriented { 0.03 } else { std::f64::consts::TAU * random.uniform() };
    let mirrored = !is_oriented && random.uniform() < 0.5;
    let turn = Affine::similarity(1.0 / NOMINAL_SCALE, theta_rad, mirrored, [0.0; 2]);
    let is_inside = |[x, y]: &&[f64; 2]| (x - centre[0]).hypot(y - centre[1]) <= radius;
    let mut moving = vec![];
    for place in table.iter().filter(is_inside) {
        // one in ten is missed, and as many false ones are there
        if random.uniform() < 0.9 {
            moving.push(turn.apply(*place).map(|value| value + random.normal()));
        }
        if random.uniform() < 0.1 {
            let near =
                [place[0] + radius * (random.uniform() - 0.5), place[1] + radius * (random.uniform() - 0.5)];
            moving.push(turn.apply(near));
        }
    }
    let reference = other.cloned().unwrap_or_else(|| {
        let [left, right] = [centre[0] - radius - GAP_PX, centre[0] + radius + GAP_PX];
        let is_left = left > high[0] - right;
        table.iter().filter(|[x, _]| if is_left { *x < left } else { *x > right }).copied().collect()
    });
    let [moving, reference] =
        [moving, reference].map(|points| Field::new(&points).expect("centres are sound"));
    let settings = Settings {
        scale_prior: Some(NOMINAL_SCALE),
        orientation_prior: is_oriented.then_some(Orientation { rotation_rad: 0.0, mirrored: false }),
        ..Settings::default()
    };
    match match_fields(&moving, &reference, &settings) {
        Ok(found) => (true, found.log10_chance),
        Err(refusal) => (false, refusal.log10_chance().unwrap_or(f64::INFINITY)),
    }
}
