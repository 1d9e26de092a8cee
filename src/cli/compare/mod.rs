//! `scopewatch compare`: what are these two files to each other, and why?

mod finding;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::json;

use crate::formats::{self, Container, Limits, Plane};
use crate::units::PlaneIndex;

use self::finding::{Finding, pair_json};
use super::file_error::{FileError, guarded};
use super::{Exit, Failure, say};

/// Compares two image files and shows the evidence of every stage of the verification
#[derive(Debug, Args)]
#[command(
    after_help = "Planes of equal index are compared, each with a line of its own, unless --plane-a and --plane-b name one.\n\nExamples:\n  scopewatch compare B02_s1.tif export/B02_s1.jpg\n  scopewatch compare run1.nd2 run2.nd2 --plane-a t0p3z0c0 --plane-b t0p4z0c0 --json\n  scopewatch compare B02_s1.tif turned.tif --picture pair.png"
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
    /// Draw one pair of planes as PNG: from left to right A as it lies on B, B, their difference (grey where there is none),
    /// and where their noise agrees (white); A and B alone where no place is known
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
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
    check_picture(args, pairs.len()).map_err(Failure::usage)?;
    let mut exit = Exit::Done;
    for (index_a, index_b) in pairs {
        let is_same_file = same_bytes && index_a == index_b;
        let finding = guarded(|| {
            if is_same_file && args.picture.is_none() {
                return Ok(Finding::identical_file());
            }
            let planes = [a.read(index_a)?, b.read(index_b)?];
            let [a, b] = &planes;
            let mut finding = if is_same_file { Finding::identical_file() } else { Finding::of(a, b) };
            if let Some(path) = &args.picture {
                finding.draw([a, b], path)?;
            }
            Ok(finding)
        });
        let planes = (index_a, index_b);
        match finding {
            Ok(finding) if args.json => say(&format!("{}\n", finding.to_json(args, planes)))?,
            Ok(finding) => say(&finding.to_text(args, planes))?,
            Err(error) => {
                exit = error.exit();
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

/// A picture shows one pair, and is never written over one of the files.
fn check_picture(args: &CompareArgs, n_pairs: usize) -> anyhow::Result<()> {
    let Some(picture) = &args.picture else { return Ok(()) };
    ensure!(
        n_pairs == 1,
        "a picture shows one of the {n_pairs} pairs of planes: give --plane-a and --plane-b"
    );
    let place = |path: &Path| std::fs::canonicalize(path).with_context(|| path.display().to_string());
    if picture.exists() {
        let picture = place(picture)?;
        for file in [&args.a, &args.b] {
            ensure!(place(file)? != picture, "the picture would be written over {}", file.display());
        }
    }
    Ok(())
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
        ensure!(file.planes.contains(&plane), "{name} has no plane {plane}; see scopewatch inspect");
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
            ensure!(!common.is_empty(), "no plane has the same index in both: give --plane-a and --plane-b");
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
