//! Measures how fast a service that starts knows its planes again, and in how much memory: fills a ledger with so many
//! planes of random features in files that do not exist, so that no pixel can be touched, then starts the verifier on it.
//!
//! `cargo run --release --example startup_bench -- FOLDER [N_PLANES]`

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use scopewatch::actor::{ByteBudget, CpuPool, IoPool};
use scopewatch::analysis::hashing;
use scopewatch::analysis::synthesis::Random;
use scopewatch::formats::{Limits, Plane, Samples};
use scopewatch::paths::{FileStat, RelativePath};
use scopewatch::platform::process::resident_memory;
use scopewatch::stages::verifier::{Means, Verifier, VerifierTally};
use scopewatch::store::*;
use scopewatch::units::PlaneIndex;
use serde_json::Map;

const N_PLANES: usize = 1_000_000;
const PLANES_PER_FILE: usize = 100;
/// Peaks of a frame, of whose marks the smallest are kept.
const N_PEAKS: u64 = 5000;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = Path::new(arguments.first().ok_or("expected a folder that does not exist yet")?);
    let n_planes = arguments.get(1).map_or(Ok(N_PLANES), |number| number.parse())?;
    let state_dir = folder.join("state");
    if !state_dir.join(DATABASE_FILE).exists() {
        let started = Instant::now();
        fill(&state_dir, n_planes)?;
        println!("{n_planes} planes written in {:.1} s", started.elapsed().as_secs_f64());
    }
    let ledger = Ledger::open(&state_dir, LedgerOptions::new("bench", "bench"))?;
    for pass in ["first", "second"] {
        let started = Instant::now();
        let (mut n_planes, mut n_bytes) = (0_u64, 0);
        LedgerReader::open(&state_dir)?.known_planes(|plane| {
            n_planes += 1;
            n_bytes += plane.features.map_or(0, |features| features.bytes.len());
        })?;
        let seconds = started.elapsed().as_secs_f64();
        println!("{pass} reading: {n_planes} planes, {n_bytes} bytes of features, {seconds:.2} s");
    }
    let before = resident_memory();
    let started = Instant::now();
    let means = Means {
        tally: VerifierTally::default(),
        io: IoPool::new(NonZeroUsize::MIN),
        cpu: CpuPool::new(NonZeroUsize::MIN)?,
        budget: ByteBudget::new(1 << 20),
        limits: Limits::default(),
        ledger: ledger.handle(),
        roots: Arc::new(HashMap::new()),
        feature_cache_bytes: 0,
        reading: Default::default(),
    };
    let verifier = Verifier::load(LedgerReader::open(&state_dir)?, means)?;
    let seconds = started.elapsed().as_secs_f64();
    let after = resident_memory();
    let mb = |bytes: u64| bytes as f64 / (1 << 20) as f64;
    println!(
        "the verifier is ready after {seconds:.2} s; it takes {:.0} MB ({:.0} bytes a plane), at its peak the process has {:.0} MB",
        mb(after.now_bytes.saturating_sub(before.now_bytes)),
        after.now_bytes.saturating_sub(before.now_bytes) as f64 / n_planes as f64,
        mb(after.peak_bytes)
    );
    drop(verifier);
    ledger.close();
    Ok(())
}

fn fill(state_dir: &Path, n_planes: usize) -> Result<(), Failure> {
    let ledger = Ledger::open(state_dir, LedgerOptions::new("bench", "bench"))?;
    let handle = ledger.handle();
    let roots = vec![("root".to_owned(), "/does/not/exist".into())];
    let root_id = wait(|reply| handle.register_roots(roots, reply))?[0];
    let plane = Plane { height: 8, width: 8, n_samples: 1, samples: Samples::Uint16(vec![1; 64]) };
    let blank = hashing::plane_features(&plane).to_bytes();
    let mut random = Random::new(1);
    for first in (0..n_planes).step_by(PLANES_PER_FILE) {
        let claim = claim(root_id, first, PLANES_PER_FILE.min(n_planes - first));
        let (stat, planes) = (claim.stat, claim.planes.clone());
        let ticket = wait(|reply| handle.claim_file(claim, reply))?.ticket;
        for plane in planes {
            handle.finish_plane(plane_done(ticket, plane.index, &blank, &mut random), Box::new(|_| ()));
        }
        wait(|reply| handle.confirm_file(ticket, stat, reply))?;
        wait(|reply| handle.finish_file(ticket, Map::new(), reply))?;
    }
    ledger.close();
    Ok(())
}

/// A time series.
fn claim(root_id: i64, first: usize, n_planes: usize) -> FileClaim {
    let plane = |t: usize| ClaimedPlane {
        index: PlaneIndex { t: t as u32, ..PlaneIndex::default() },
        ..ClaimedPlane::default()
    };
    FileClaim {
        root_id,
        path: RelativePath::new(format!("plate_{:03}/series_{first:07}.nd2", first / 100_000)),
        stat: FileStat { device: 1, inode: first as u64, size_bytes: 1 << 30, mtime_ns: 1, ctime_ns: 1 },
        format: "nd2".into(),
        metadata: Map::new(),
        identity: Identity { plate: Some("p1".into()), well: Some("B02".into()), ..Identity::default() },
        quality_rank: 16,
        is_complete: true,
        only_grew: false,
        planes: (0..n_planes).map(plane).collect(),
        probes: Vec::new(),
    }
}

fn plane_done(ticket: FileTicket, index: PlaneIndex, blank: &[u8], random: &mut Random) -> PlaneDone {
    let mut marks: Vec<u32> = (0..16).map(|_| (random.bits() % (16 * (1 << 32) / N_PEAKS)) as u32).collect();
    marks.sort_unstable();
    let mut bytes = blank[..blank.len() - 32 - 64].to_vec();
    (0..4).for_each(|_| bytes.extend(random.bits().to_le_bytes()));
    marks.iter().for_each(|mark| bytes.extend(mark.to_le_bytes()));
    let mut digest = [0; 32];
    digest.chunks_mut(8).for_each(|word| word.copy_from_slice(&random.bits().to_le_bytes()));
    PlaneDone {
        ticket,
        index,
        digest,
        blank: None,
        features: Some(PlaneFeatures { version: hashing::FEATURES_VERSION.into(), bytes }),
        figures: Map::new(),
        matches: Vec::new(),
        registrable: None,
        registrations: Vec::new(),
    }
}
