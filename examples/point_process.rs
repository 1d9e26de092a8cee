//! How real fields of nuclei lie beside those that the benchmark draws: density and pair correlation.
//!
//! `cargo run --release --example point_process -- overview_1.csv overview_2.csv`
//!
//! Tables are CSV with a header; the second and third column are x and y in pixels of the overview, as `scopewatch register`
//! takes them. Each is set beside a drawn field of the same density.
//!
//! # References
//! Pair correlation by translation correction: Ohser 1983 (On estimators for the reduced second moment measure of point
//! processes, Mathematische Operationsforschung und Statistik 14, 63-71), in the form of Illian, Penttinen, Stoyan and Stoyan
//! 2008 (Statistical analysis and modelling of spatial point patterns, section 4.3): pairs count by one over the area
//! that the window and the window moved by their difference have in common.

use std::env::args_os;
use std::error::Error;
use std::path::Path;

use scopewatch::analysis::benchmark::scene::{CAMERA_PX, Scene};

/// Ends of the classes of distance, in units of the mean spacing (one over the root of the density).
const ENDS: [f64; 19] =
    [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0];
/// Drawn fields beside each table.
const N_DRAWN: u64 = 4;

/// Points in the window around them.
struct Pattern {
    points: Vec<[f64; 2]>,
    window: [f64; 2],
}

impl Pattern {
    /// Takes the window: the bounding box, each side longer by what `n` points leave of it in the mean.
    fn within_its_box(points: Vec<[f64; 2]>) -> Self {
        let n = points.len() as f64;
        let window = [0, 1].map(|axis| {
            let along = || points.iter().map(|point| point[axis]);
            let side = along().fold(f64::MIN, f64::max) - along().fold(f64::MAX, f64::min);
            side * (n + 1.0) / (n - 1.0)
        });
        Self { points, window }
    }

    fn density_per_px(&self) -> f64 {
        self.points.len() as f64 / (self.window[0] * self.window[1])
    }

    /// The pair correlation in the classes of [`ENDS`].
    fn pair_correlation(&self) -> [f64; ENDS.len() - 1] {
        let spacing = self.density_per_px().sqrt().recip();
        let [width, height] = self.window;
        let reach = ENDS[ENDS.len() - 1] * spacing;
        let mut sorted = self.points.clone();
        sorted.sort_by(|a, b| a[0].total_cmp(&b[0]));
        let mut sums = [0.0; ENDS.len() - 1];
        for (first, [ax, ay]) in sorted.iter().enumerate() {
            for [bx, by] in sorted[first + 1..].iter().take_while(|point| point[0] - ax < reach) {
                let [dx, dy] = [(bx - ax).abs(), (by - ay).abs()];
                let distance = dx.hypot(dy) / spacing;
                if let Some(class) = ENDS.windows(2).position(|ends| (ends[0]..ends[1]).contains(&distance)) {
                    sums[class] += 2.0 / ((width - dx) * (height - dy));
                }
            }
        }
        let n = self.points.len() as f64;
        let square_density = n * (n - 1.0) / (width * height).powi(2);
        std::array::from_fn(|class| {
            let [inner, outer] = [ENDS[class], ENDS[class + 1]].map(|end| (end * spacing).powi(2));
            sums[class] / (std::f64::consts::PI * (outer - inner)) / square_density
        })
    }
}

fn read(path: &Path) -> Result<Vec<[f64; 2]>, Box<dyn Error>> {
    let text = std::fs::read_to_string(path)?;
    let point = |line: &str| -> Option<[f64; 2]> {
        let mut cells = line.split(',').skip(1).map(|cell| cell.trim().parse().ok());
        Some([cells.next()??, cells.next()??])
    };
    let points: Option<Vec<_>> = text.lines().skip(1).filter(|line| !line.is_empty()).map(point).collect();
    let points = points.ok_or_else(|| format!("{}: expected id,x,y in every row", path.display()))?;
    if points.len() < 100 {
        Err(format!("{}: expected 100 points or more", path.display()))?
    }
    Ok(points)
}

/// What the benchmark draws at this density, before anything is missed or added.
fn drawn(density_per_px: f64, seed: u64) -> Pattern {
    let n = (density_per_px * CAMERA_PX * CAMERA_PX).round() as usize;
    let scene =
        Scene { n, noise_px: [0.0; 2], missed: 0.0, spurious: 0.0, merged: 0.0, seed, ..Scene::default() };
    Pattern { points: scene.views().reference, window: [CAMERA_PX; 2] }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut columns, mut header) = (vec![], String::from("distance by spacing"));
    for path in args_os().skip(1) {
        let path = Path::new(&path);
        let real = Pattern::within_its_box(read(path)?);
        let density = real.density_per_px();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        println!("{name}: {} nuclei, {:.0} per Mpx", real.points.len(), 1e6 * density);
        columns.push(real.pair_correlation());
        let fields: Vec<_> = (1..=N_DRAWN).map(|seed| drawn(density, seed).pair_correlation()).collect();
        let mean = |class: usize| fields.iter().map(|field| field[class]).sum::<f64>() / N_DRAWN as f64;
        columns.push(std::array::from_fn(mean));
        header += &format!(" | {name} | drawn");
    }
    if columns.is_empty() {
        return Err("expected one or more tables of points: id,x,y".into());
    }
    println!("| {header} |\n|{}", "---|".repeat(columns.len() + 1));
    for class in 0..ENDS.len() - 1 {
        let cells: String = columns.iter().map(|column| format!(" {:.2} |", column[class])).collect();
        println!("| {:.2} to {:.2} |{cells}", ENDS[class], ENDS[class + 1]);
    }
    Ok(())
}
