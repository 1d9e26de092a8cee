//! How fast nuclei are found: `cargo bench --bench segmentation` draws planes of 2304 x 2304 pixels of 16 bits with about 6,000
//! nuclei at about 20 % and about 60 % foreground, and prints the speed of the whole chain on one and on two threads, of
//! each step, and the memory it takes; `scripts/bench_segmentation.py` sets this program beside
//! scikit-image.
//!
//! On one thread the time is CPU time (user and system) of the process where the system tells it, on two it is the
//! clock's; both the best of several rounds.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use scopewatch::analysis::segmentation::{
    SegmentationSettings, Step, scratch_bytes, segment, segment_observed,
};
use scopewatch::analysis::synthesis::Random;
use scopewatch::formats::tiff::{WriteOptions, encode};
use scopewatch::formats::{self, Limits, Plane, Samples};

/// Rows and columns of a scene.
const SIDE: usize = 2304;
/// Nuclei of a scene.
const N_NUCLEI: usize = 6000;
/// Parts of the pixels that belong to nuclei.
const FOREGROUNDS: [f64; 2] = [0.2, 0.6];
/// Rounds of each figure where the caller does not say.
const N_ROUNDS: u32 = 7;

fn main() -> Result<(), Box<dyn Error>> {
    // cargo adds --bench
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let (command, rest) = arguments.split_first().map_or(("", &[][..]), |(first, rest)| (first, rest));
    match (command, rest) {
        ("write", [folder]) => write_scenes(Path::new(folder)),
        ("time", [rounds, files @ ..]) => time_files(rounds.parse()?, files),
        _ => print_table(),
    }
}

fn print_table() -> Result<(), Box<dyn Error>> {
    for foreground in FOREGROUNDS {
        let scene = Scene::draw(foreground, 1);
        println!(
            "{SIDE} x {SIDE}, {N_NUCLEI} nuclei drawn on {:.1} % of the pixels",
            100.0 * scene.foreground
        );
        Figures::of(&scene.plane, N_ROUNDS)?.print();
    }
    Ok(())
}

/// `scene-20.tif` and `scene-60.tif`.
fn write_scenes(folder: &Path) -> Result<(), Box<dyn Error>> {
    for foreground in FOREGROUNDS {
        let scene = Scene::draw(foreground, 1);
        let path = folder.join(format!("scene-{:.0}.tif", 100.0 * foreground));
        fs::write(path, encode(&[scene.plane], &WriteOptions::default())?)?;
    }
    Ok(())
}

/// One JSON object per file.
fn time_files(rounds: u32, files: &[String]) -> Result<(), Box<dyn Error>> {
    for file in files {
        let plane = formats::open(Box::new(File::open(file)?), &Limits::default())?.read_plane(0)?;
        let figures = Figures::of(&plane, rounds)?;
        let line = serde_json::json!({
            "file": file, "n_objects": figures.n_objects, "foreground": figures.foreground,
            "cpu_s": figures.alone.cpu.as_secs_f64(), "wall_s": figures.alone.wall.as_secs_f64(),
            "wall_two_threads_s": figures.together.wall.as_secs_f64(), "bytes_per_pixel": figures.bytes_per_pixel,
        });
        println!("{line}");
    }
    Ok(())
}

/// Least times over the rounds.
#[derive(Debug, Clone, Copy)]
struct Times {
    cpu: Duration,
    wall: Duration,
}

/// What is known of one plane.
struct Figures {
    n_pixels: usize,
    n_objects: u32,
    foreground: f64,
    alone: Times,
    together: Times,
    /// CPU time of each step on one thread.
    steps: BTreeMap<Step, Duration>,
    /// Most that the chain held at once, its results included, the plane not.
    bytes_per_pixel: f64,
    bytes_per_pixel_max: f64,
}

impl Figures {
    fn of(plane: &Plane, rounds: u32) -> Result<Self, Box<dyn Error>> {
        let settings = SegmentationSettings::default();
        let deed = || segment(plane, None, &settings).expect("a grey plane");
        let [one, two] = [1, 2].map(|n| rayon::ThreadPoolBuilder::new().num_threads(n).build());
        let (one, two) = (one?, two?);
        let held = begin_counting();
        let result = one.install(deed);
        let peak_bytes = peak_since(held);
        // in turn, so that what else runs on the machine meets both alike
        let mut times = [Times { cpu: Duration::MAX, wall: Duration::MAX }; 2];
        for _ in 0..rounds {
            for (times, pool) in times.iter_mut().zip([&one, &two]) {
                times.add(|| drop(black_box(pool.install(deed))));
            }
        }
        let steps = one.install(|| steps_of(plane, rounds));
        let n_pixels = plane.height * plane.width;
        Ok(Self {
            n_pixels,
            n_objects: result.quality.n_objects,
            foreground: result.quality.foreground_fraction,
            alone: times[0],
            together: times[1],
            steps,
            bytes_per_pixel: peak_bytes as f64 / n_pixels as f64,
            bytes_per_pixel_max: scratch_bytes(plane.height, plane.width) as f64 / n_pixels as f64,
        })
    }

    fn print(&self) {
        let speed = |time: Duration| self.n_pixels as f64 / 1e6 / time.as_secs_f64();
        println!("  found {} on {:.1} % of the pixels", self.n_objects, 100.0 * self.foreground);
        let line = |name: &str, time: Duration| {
            println!("  {name:<28} {:>8.1} Mpixel/s {:>8.1} ms", speed(time), 1e3 * time.as_secs_f64());
        };
        line("chain, one thread, CPU", self.alone.cpu);
        line("chain, one thread, clock", self.alone.wall);
        line("chain, two threads, clock", self.together.wall);
        let ratio = self.alone.wall.as_secs_f64() / self.together.wall.as_secs_f64();
        println!("  two threads against one      {ratio:>8.2}");
        for (step, time) in &self.steps {
            line(&format!("of it: {}", name_of(*step)), *time);
        }
        println!(
            "  memory beside the plane      {:>8.2} bytes/pixel, at most {:.2} are reserved",
            self.bytes_per_pixel, self.bytes_per_pixel_max
        );
    }
}

/// Least CPU time of each step over the rounds.
fn steps_of(plane: &Plane, rounds: u32) -> BTreeMap<Step, Duration> {
    let mut least = BTreeMap::new();
    for _ in 0..rounds {
        let mut begun = cpu_time();
        let mut done = |step: Step| {
            let now = cpu_time();
            let time = least.entry(step).or_insert(Duration::MAX);
            *time = (*time).min(now - std::mem::replace(&mut begun, now));
        };
        let result = segment_observed(plane, None, &SegmentationSettings::default(), &mut done);
        drop(black_box(result.expect("a grey plane")));
    }
    least
}

fn name_of(step: Step) -> &'static str {
    match step {
        Step::Blur => "levels, blur",
        Step::Background => "background, noise",
        Step::RoughRadius => "first window",
        Step::Mask => "mask, components",
        Step::Candidates => "contrast of components",
        Step::Radius => "radius",
        Step::Split => "distance, split, rims",
        Step::Labels => "label image",
        Step::Focus => "focus",
        Step::Table => "region table",
    }
}

impl Times {
    fn add(&mut self, deed: impl FnOnce()) {
        let (cpu, wall) = (cpu_time(), Instant::now());
        deed();
        self.wall = self.wall.min(wall.elapsed());
        self.cpu = self.cpu.min(cpu_time() - cpu);
    }
}

/// A drawn plane of nuclei.
struct Scene {
    plane: Plane,
    /// Part of the pixels inside a nucleus.
    foreground: f64,
}

#[derive(Clone, Copy)]
struct Nucleus {
    /// Row and column.
    centre: [f64; 2],
    radius: f64,
    elongation: f64,
    angle: f64,
    signal: f64,
}

/// Parts of the nuclei that are placed beside another one.
const CLUMPED: f64 = 0.4;
/// Distance of two nuclei, at least, in sums of their radii.
const DISTANCE_MIN: f64 = 0.82;

impl Scene {
    fn draw(foreground: f64, seed: u64) -> Self {
        let area = foreground * (SIDE * SIDE) as f64 / N_NUCLEI as f64;
        let mut radius = (area / std::f64::consts::PI).sqrt();
        let (mut light, mut covered) = (Vec::new(), 0.0);
        // nuclei overlap and end at the border: the radius makes up for it
        for _ in 0..4 {
            let nuclei = place(radius, &mut Random::new(seed));
            (light, covered) = expose(&nuclei, radius);
            radius *= (foreground / covered).sqrt();
        }
        let mut random = Random::new(seed + 1);
        let samples = light.iter().map(|&light| {
            let light = f64::from(light);
            // photon noise (2 grey values a photon) and read noise
            let sd = (2.0 * light + 36.0).sqrt();
            (light + sd * random.noise()).round().clamp(0.0, 65_535.0) as u16
        });
        let samples = Samples::Uint16(samples.collect());
        Self { plane: Plane { height: SIDE, width: SIDE, n_samples: 1, samples }, foreground: covered }
    }
}

/// Places nuclei of unequal size and brightness, alone and in clumps; they touch and hardly overlap.
fn place(radius: f64, random: &mut Random) -> Vec<Nucleus> {
    let mut nuclei: Vec<Nucleus> = Vec::with_capacity(N_NUCLEI);
    let cell = 4.0 * radius;
    let n_cells = (SIDE as f64 / cell) as usize + 1;
    let mut cells: Vec<Vec<usize>> = vec![Vec::new(); n_cells * n_cells];
    let cell_of = |place: f64| ((place / cell) as usize).min(n_cells - 1);
    for _ in 0..400 * N_NUCLEI {
        if nuclei.len() == N_NUCLEI {
            break;
        }
        let own = radius * (1.0 + 0.15 * random.normal().clamp(-2.0, 2.0));
        let mut centre = [0; 2].map(|_| random.between(0.0, SIDE as f64));
        if !nuclei.is_empty() && random.uniform() < CLUMPED {
            let beside = nuclei[random.bits() as usize % nuclei.len()];
            let (direction, reach) = (random.direction(), (own + beside.radius) * random.between(0.85, 1.0));
            centre = [0, 1].map(|axis| beside.centre[axis] + reach * direction[axis]);
        }
        if centre.iter().any(|place| !(0.0..SIDE as f64).contains(place)) {
            continue;
        }
        let [row, column] = centre.map(cell_of);
        let around = |cell: usize| cell.saturating_sub(1)..=(cell + 1).min(n_cells - 1);
        let is_clear = around(row).all(|row| {
            around(column).all(|column| {
                cells[row * n_cells + column].iter().all(|&other| {
                    let other = &nuclei[other];
                    let [y, x] = [0, 1].map(|axis| other.centre[axis] - centre[axis]);
                    y.hypot(x) >= DISTANCE_MIN * (own + other.radius)
                })
            })
        });
        if is_clear {
            cells[row * n_cells + column].push(nuclei.len());
            nuclei.push(Nucleus {
                centre,
                radius: own,
                elongation: random.between(1.0, 1.35),
                angle: random.between(0.0, std::f64::consts::PI),
                // the brightest five times as bright as the dimmest
                signal: 350.0 * 5.0_f64.powf(random.uniform()),
            });
        }
    }
    nuclei
}

/// Expected grey values, and the part of the pixels inside a nucleus.
fn expose(nuclei: &[Nucleus], radius: f64) -> (Vec<f32>, f64) {
    // an uneven background
    let background = |index: usize| {
        let (y, x) = ((index / SIDE) as f64 / SIDE as f64, (index % SIDE) as f64 / SIDE as f64);
        (200.0 + 30.0 * x + 40.0 * (3.0 * y).sin()) as f32
    };
    let mut light: Vec<f32> = (0..SIDE * SIDE).map(background).collect();
    let mut is_inside = vec![false; SIDE * SIDE];
    for nucleus in nuclei {
        let reach = nucleus.radius * 1.2 + 4.0;
        let range = |centre: f64| {
            (centre - reach).max(0.0) as usize..((centre + reach).max(0.0) as usize + 1).min(SIDE)
        };
        let (sin, cos) = nucleus.angle.sin_cos();
        let stretch = nucleus.elongation.sqrt();
        for row in range(nucleus.centre[0]) {
            for column in range(nucleus.centre[1]) {
                let (y, x) = (row as f64 - nucleus.centre[0], column as f64 - nucleus.centre[1]);
                let (along, across) = ((x * cos + y * sin) / stretch, (y * cos - x * sin) * stretch);
                let depth = nucleus.radius - along.hypot(across);
                // the optics' blur makes the edge about two pixels wide
                let inside = 1.0 / (1.0 + (-1.6 * depth).exp());
                let chromatin =
                    1.0 + 0.18 * (2.4 * along / radius + nucleus.angle).sin() * (3.1 * across / radius).cos();
                light[row * SIDE + column] += (nucleus.signal * inside * chromatin) as f32;
                is_inside[row * SIDE + column] |= depth > 0.0;
            }
        }
    }
    let n_inside = is_inside.iter().filter(|&&is_inside| is_inside).count();
    (light, n_inside as f64 / (SIDE * SIDE) as f64)
}

/// The system's allocator, counting what all threads hold.
struct CountingAllocator;

static HELD_BYTES: AtomicI64 = AtomicI64::new(0);
static PEAK_BYTES: AtomicI64 = AtomicI64::new(0);

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn note(change: i64) {
    let held = HELD_BYTES.fetch_add(change, Ordering::Relaxed) + change;
    if change > 0 {
        PEAK_BYTES.fetch_max(held, Ordering::Relaxed);
    }
}

/// Bytes held now, from where the peak is counted.
fn begin_counting() -> i64 {
    let held = HELD_BYTES.load(Ordering::Relaxed);
    PEAK_BYTES.store(held, Ordering::Relaxed);
    held
}

fn peak_since(held: i64) -> i64 {
    PEAK_BYTES.load(Ordering::Relaxed) - held
}

#[allow(
    unsafe_code,
    reason = "an allocator is unsafe by its trait; all calls go to the system's as they are"
)]
// SAFETY: memory comes from and goes to the system's allocator with the layout that the caller gives; counting takes
// no memory.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as i64);
        // SAFETY: the caller's promises are passed on
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as i64);
        // SAFETY: the caller's promises are passed on
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        note(-(layout.size() as i64));
        // SAFETY: the caller's promises are passed on
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        note(new_size as i64 - layout.size() as i64);
        // SAFETY: the caller's promises are passed on
        unsafe { System.realloc(block, layout, new_size) }
    }
}

/// CPU time of the process, user and system; the clock where the system does not tell it.
#[cfg(unix)]
#[allow(unsafe_code, reason = "the standard library does not ask for it")]
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place to write to for the length of the call
    let answer = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(answer, 0, "every process has a clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The clock: the standard library does not tell the CPU time.
#[cfg(not(unix))]
fn cpu_time() -> Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
