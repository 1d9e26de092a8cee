//! How fast look-alikes are found among many planes: `cargo bench --bench duplicates [-- N_CODES...]` fills the candidate
//! index with random codes and prints, on one thread, what a query takes in all eight orientations and both polarities at
//! the default distance, with the best instructions of this processor and with those of every processor of its kind,
//! beside the time that it takes to do nothing but read the codes (add up their words); what adding a code costs, and the
//! memory it takes. Then the same for the fingerprints that find parts of frames.
//!
//! Times are the best of several rounds. Without numbers: 10,000, 100,000, 1,000,000 and 10,000,000 codes.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use scopewatch::analysis::hashing::{Code256, PlaneFeatures, plane_features};
use scopewatch::analysis::synthesis::Random;
use scopewatch::analysis::verification::{CandidateIndex, PartIndex, VerificationSettings};
use scopewatch::formats::{Plane, Samples};
use scopewatch::platform::process::resident_memory;

const N_CODES: [usize; 4] = [10_000, 100_000, 1_000_000, 10_000_000];
/// Planes with fingerprints, at most: they take four times the memory of the codes.
const N_PLANES_MAX: usize = 1_000_000;
/// Rounds of each figure.
const N_ROUNDS: usize = 9;
/// Codes that a round goes over, at least.
const N_CODES_PER_ROUND: usize = 20_000_000;
/// Codes near a query where look-alikes abound.
const N_ALIKE: usize = 1000;
/// Peaks of a frame, of whose marks the smallest are kept.
const N_PEAKS: u64 = 5000;

fn main() -> Result<(), Box<dyn Error>> {
    // cargo adds --bench
    let numbers = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let mut sizes: Vec<usize> = numbers.map(|number| number.parse()).collect::<Result<_, _>>()?;
    if sizes.is_empty() {
        sizes = N_CODES.to_vec();
    }
    println!("{}; distance {}", processor(), distance_max());
    println!(
        "{:>10} {:>12} {:>12} {:>12} {:>12} {:>10} {:>10} {:>10} {:>10}",
        "codes",
        "read us",
        "GB/s",
        "query us",
        "portable us",
        "query/read",
        "alike us",
        "insert ns",
        "bytes/code"
    );
    sizes.iter().for_each(|&n_codes| codes(n_codes));
    println!("{:>10} {:>12} {:>12} {:>12}", "planes", "parts us", "insert ns", "bytes/plane");
    let mut sizes: Vec<usize> = sizes.iter().map(|&n| n.min(N_PLANES_MAX)).collect();
    sizes.dedup();
    sizes.iter().for_each(|&n_planes| parts(n_planes));
    Ok(())
}

/// One line for an index of codes.
fn codes(n_codes: usize) {
    let mut random = Random::new(n_codes as u64);
    let words: Vec<u64> = (0..4 * n_codes).map(|_| random.bits()).collect();
    let read = best(n_codes, || _ = black_box(sum(black_box(&words))));
    let codes: &[[u64; 4]] = bytemuck::cast_slice(&words);
    let before = resident_memory().now_bytes;
    let started = Instant::now();
    let mut index = CandidateIndex::new();
    fill(&mut index, codes);
    let insert = started.elapsed();
    let n_bytes = resident_memory().now_bytes.saturating_sub(before);
    let query = Code256(std::array::from_fn(|_| random.bits()));
    let ask = |index: &CandidateIndex| drop(black_box(index.within(black_box(&query), distance_max())));
    let dispatched = best(n_codes, || ask(&index));
    // the same codes, some of them near the query
    for place in 0..N_ALIKE {
        let mut near = query;
        near.0[place % 4] ^= random.bits() & random.bits() & random.bits();
        index.insert((n_codes + place) as u32, near);
    }
    let alike = best(n_codes, || ask(&index));
    drop(index);
    let mut portable = CandidateIndex::new_portable();
    fill(&mut portable, codes);
    let plain = best(n_codes, || ask(&portable));
    let us = |time: Duration| 1e6 * time.as_secs_f64();
    println!(
        "{n_codes:>10} {:>12.1} {:>12.1} {:>12.1} {:>12.1} {:>10.2} {:>10} {:>10.1} {:>10}",
        us(read),
        32.0 * n_codes as f64 / read.as_secs_f64() / 1e9,
        us(dispatched),
        us(plain),
        dispatched.as_secs_f64() / read.as_secs_f64(),
        alike_us(alike, dispatched),
        insert.as_secs_f64() * 1e9 / n_codes as f64,
        per(n_bytes, n_codes),
    );
}

fn fill(index: &mut CandidateIndex, codes: &[[u64; 4]]) {
    (0_u32..).zip(codes).for_each(|(id, code)| index.insert(id, Code256(*code)));
}

/// One line for an index of fingerprints.
fn parts(n_planes: usize) {
    let mut random = Random::new(n_planes as u64);
    let before = resident_memory().now_bytes;
    let mut index = PartIndex::default();
    let mut insert = Duration::ZERO;
    let plane = Plane { height: 8, width: 8, n_samples: 1, samples: Samples::Uint16(vec![1; 64]) };
    let blank = plane_features(&plane).to_bytes();
    for id in 0..n_planes {
        let features = features(&blank, &mut random);
        let started = Instant::now();
        index.insert(id as u32, &features.fingerprints);
        insert += started.elapsed();
    }
    let n_bytes = resident_memory().now_bytes.saturating_sub(before);
    let asked = features(&blank, &mut random).fingerprints;
    let query = best(n_planes, || drop(black_box(index.sharing(black_box(&asked)))));
    println!(
        "{n_planes:>10} {:>12.1} {:>12.1} {:>12}",
        1e6 * query.as_secs_f64(),
        insert.as_secs_f64() * 1e9 / n_planes as f64,
        per(n_bytes, n_planes)
    );
}

/// Features with the smallest marks of random ones.
fn features(blank: &[u8], random: &mut Random) -> PlaneFeatures {
    let mut marks: Vec<u32> = (0..16).map(|_| (random.bits() % (16 * (1 << 32) / N_PEAKS)) as u32).collect();
    marks.sort_unstable();
    let mut bytes = blank[..blank.len() - 4 * marks.len()].to_vec();
    marks.iter().for_each(|mark| bytes.extend(mark.to_le_bytes()));
    PlaneFeatures::from_bytes(&bytes).expect("any marks are features")
}

/// Adds up words: what cannot be faster than reading them.
#[multiversion::multiversion(targets("x86_64+avx512f", "x86_64+avx2"))]
fn sum(words: &[u64]) -> u64 {
    words.iter().fold(0, |sum, word| sum.wrapping_add(*word))
}

/// The best time of one call.
fn best(n_codes: usize, mut deed: impl FnMut()) -> Duration {
    let n_calls = (N_CODES_PER_ROUND / n_codes.max(1)).clamp(1, 2000) as u32;
    let mut least = Duration::MAX;
    for _ in 0..N_ROUNDS {
        let started = Instant::now();
        (0..n_calls).for_each(|_| deed());
        least = least.min(started.elapsed() / n_calls);
    }
    least
}

/// What the codes near the query add; nothing where the time of the others hides it.
fn alike_us(alike: Duration, without: Duration) -> String {
    let added = alike.saturating_sub(without);
    if added < without / 2 { "-".to_owned() } else { format!("{:.1}", 1e6 * added.as_secs_f64()) }
}

/// Memory of the process per item; nothing where too little was taken for it to be seen.
fn per(n_bytes: u64, n: usize) -> String {
    if n < 1_000_000 { "-".to_owned() } else { format!("{:.1}", n_bytes as f64 / n as f64) }
}

fn distance_max() -> u32 {
    VerificationSettings::default().distance_max
}

/// What the system calls the processor.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    line.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.to_owned())
}
