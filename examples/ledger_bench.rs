//! Measures the ledger on the disk of a folder: claims and finishes per second with group commit, and one rescan of
//! 100,000 known files in 2,000 folders.
//!
//! `cargo run --release --example ledger_bench -- FOLDER`

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::mpsc;
use std::time::Instant;

use scopewatch::paths::{FileStat, RelativePath};
use scopewatch::reports::{CurrentTables, ReportOptions, ReportWriter};
use scopewatch::store::*;
use scopewatch::units::PlaneIndex;
use serde_json::{Map, Value};

const N_FOLDERS: usize = 2_000;
const N_FILES: usize = 100_000;
/// Files on their way at the same time, as a pipeline has them.
const N_IN_FLIGHT: usize = 64;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let folder = std::env::args().nth(1).ok_or("expected a folder that does not exist yet")?;
    let folder = Path::new(&folder);
    let state_dir = folder.join("state");
    let ledger = Ledger::open(&state_dir, LedgerOptions::new("bench", "bench"))?;
    let roots = vec![("root".to_owned(), "/data".into())];
    let root_id = wait(|reply| ledger.handle().register_roots(roots, reply))?[0];
    let options = ReportOptions::new(folder.join("reports"));
    let reports = ReportWriter::start(options, LedgerReader::open(&state_dir)?, ledger.handle())?;

    let start = Instant::now();
    take_through(&ledger.handle(), root_id)?;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{N_FILES} files of one plane (claim, finish plane, confirm, finish file), {N_IN_FLIGHT} at a time: {seconds:.1} s, {:.0} files/s",
        N_FILES as f64 / seconds
    );
    let start = Instant::now();
    wait(|reply| reports.flush(reply))?;
    println!("flush of the report files: {:.3} s", start.elapsed().as_secs_f64());
    reports.close();

    let start = Instant::now();
    let n = 500;
    for at in 0..n {
        let alert = Alert { kind: "bench".into(), text: at.to_string(), fields: Map::new() };
        wait(|reply| ledger.handle().emit_alert(alert, reply))?;
    }
    println!("one at a time: {:.2} ms per commit", start.elapsed().as_secs_f64() * 1e3 / f64::from(n));
    ledger.close();

    let start = Instant::now();
    let ledger = Ledger::open(&state_dir, LedgerOptions::new("bench", "bench"))?;
    let reader = LedgerReader::open(&state_dir)?;
    println!("open: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    for pass in ["first", "second"] {
        let start = Instant::now();
        let mut n_known = 0;
        for at in 0..N_FOLDERS {
            n_known += reader.folder(root_id, OsStr::new(&folder_name(at)))?.len();
        }
        println!(
            "{pass} rescan: {n_known} files in {N_FOLDERS} folders, {:.1} ms",
            start.elapsed().as_secs_f64() * 1e3
        );
    }
    let start = Instant::now();
    let mut n_planes = 0;
    reader.known_planes(|_| n_planes += 1)?;
    println!("index of {n_planes} planes: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    let start = Instant::now();
    let counts = reader.counts()?;
    println!("counts: {:.1} ms ({} groups)", start.elapsed().as_secs_f64() * 1e3, counts.groups);
    let start = Instant::now();
    CurrentTables::new(folder.join("reports/current")).refresh(&reader)?;
    println!("refresh of the current tables: {:.2} s", start.elapsed().as_secs_f64());
    println!("integrity: {}", reader.integrity_check()?);
    drop(ledger);
    Ok(())
}

fn folder_name(at: usize) -> String {
    format!("plate_{:03}/well_{:03}", at / 96, at % 96)
}

fn file_claim(root_id: i64, at: usize) -> FileClaim {
    let name = format!("{}/image_{at:06}.tif", folder_name(at % N_FOLDERS));
    let inode = at as u64;
    FileClaim {
        root_id,
        path: RelativePath::new(name),
        stat: FileStat {
            device: 1,
            inode,
            size_bytes: 8_388_608,
            mtime_ns: inode as i64,
            ctime_ns: inode as i64,
        },
        format: "tiff".into(),
        metadata: Map::from_iter([("pixel_size_um".to_owned(), Value::from(0.325))]),
        identity: Identity { plate: Some("p1".into()), well: Some("B02".into()), ..Identity::default() },
        quality_rank: 16,
        is_complete: true,
        only_grew: false,
        planes: vec![ClaimedPlane::default()],
        probes: Vec::new(),
    }
}

/// Every tenth file has the samples of its predecessor.
fn plane_done(ticket: FileTicket, at: usize) -> PlaneDone {
    let content = if at % 10 == 9 { at - 1 } else { at };
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&(content as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    let figure = |name: &str, value: f64| (name.to_owned(), Value::from(value));
    PlaneDone {
        ticket,
        index: PlaneIndex::default(),
        digest,
        blank: None,
        features: Some(PlaneFeatures { version: 1, bytes: vec![7; 2048] }),
        figures: Map::from_iter([
            figure("nuclei", 42.0),
            figure("focus", 0.123),
            figure("background", 104.5),
        ]),
        matches: Vec::new(),
        registrable: None,
        registrations: Vec::new(),
    }
}

/// Each operation of a file waits for the answer to the one before, with many files under way.
fn take_through(handle: &LedgerHandle, root_id: i64) -> Result<(), Failure> {
    let mut under_way: VecDeque<(usize, mpsc::Receiver<FileTicket>)> = VecDeque::new();
    for at in 0..N_FILES + N_IN_FLIGHT {
        if at < N_FILES {
            let (sender, receiver) = mpsc::channel();
            handle.claim_file(
                file_claim(root_id, at),
                Box::new(move |claimed| {
                    if let Ok(claimed) = claimed {
                        let _ = sender.send(claimed.ticket);
                    }
                }),
            );
            under_way.push_back((at, receiver));
        }
        if at >= N_IN_FLIGHT
            && let Some((at, receiver)) = under_way.pop_front()
        {
            let ticket = receiver.recv()?;
            let stat = file_claim(root_id, at).stat;
            let next = handle.clone();
            handle.finish_plane(plane_done(ticket, at), Box::new(|_| ()));
            handle.confirm_file(
                ticket,
                stat,
                Box::new(move |confirmed| {
                    if confirmed.is_ok_and(|confirmed| confirmed.file_ready) {
                        next.finish_file(ticket, Map::new(), Box::new(|_| ()));
                    }
                }),
            );
        }
    }
    // two rounds: the last confirmations have queued their finishes after the first
    wait(|reply| handle.register_roots(Vec::new(), reply))?;
    wait(|reply| handle.register_roots(Vec::new(), reply))?;
    Ok(())
}
