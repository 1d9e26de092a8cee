//! From what was typed to roots: each file and folder is scanned once, under one root.

use std::path::{Path, PathBuf};

use super::{Folders, SettingsError, check_folders, resolve_folders};

/// The folders to scan and, for each, the paths below it that alone were asked for (none: everything).
///
/// # Errors
/// When a path is not there or neither a file nor a folder, or when the output would be scanned.
pub fn resolve_scanned(
    paths: &[PathBuf],
    output: &Path,
) -> Result<(Folders, Vec<Vec<PathBuf>>), SettingsError> {
    let mut named = Vec::new();
    for path in paths {
        let io = |source| SettingsError::Io { path: path.clone(), source };
        let found = std::fs::canonicalize(path).map_err(io)?;
        if !found.is_dir() && !found.is_file() {
            return Err(SettingsError::NoFileOrFolder(path.clone()));
        }
        named.push(Named { is_folder: found.is_dir(), path: found });
    }
    let output = resolve_folders(&[], output)?.output;
    let scanned = outermost(named.iter().map(|named| named.path.clone()).collect());
    // not the roots: beside a file that was named, the output may lie
    check_folders(&scanned, &output)?;
    let (roots, only) = fold(&named).into_iter().unzip();
    Ok((Folders { roots, output }, only))
}

/// The same with one root above all: the lowest folder that holds everything.
pub fn below_one_root((folders, only): (Folders, Vec<Vec<PathBuf>>)) -> (Folders, Vec<Vec<PathBuf>>) {
    let Folders { roots, output } = folders;
    let shared = roots.iter().cloned().reduce(|one, other| {
        let parts = one.components().zip(other.components());
        parts.take_while(|(left, right)| left == right).map(|(part, _)| part).collect()
    });
    let Some(shared) = shared else { return (Folders { roots, output }, only) };
    let mut below = Vec::new();
    for (root, only) in roots.iter().zip(only) {
        let inner = root.strip_prefix(&shared).unwrap_or(root);
        match only.as_slice() {
            [] => below.push(inner.to_owned()),
            only => below.extend(only.iter().map(|path| inner.join(path))),
        }
    }
    if below.iter().any(|path| path.as_os_str().is_empty()) {
        // one that is the root itself holds the others
        below.clear();
    }
    (Folders { roots: vec![shared], output }, vec![below])
}

/// One argument, links followed.
struct Named {
    path: PathBuf,
    is_folder: bool,
}

/// A folder is its own root, a file's root is its folder, and a root takes in every root below it. A root that was not
/// named itself is scanned only where something was named.
fn fold(named: &[Named]) -> Vec<(PathBuf, Vec<PathBuf>)> {
    let home = |named: &Named| match named.path.parent() {
        Some(parent) if !named.is_folder => parent.to_owned(),
        _ => named.path.clone(),
    };
    let roots = outermost(named.iter().map(home).collect());
    let scanned = outermost(named.iter().map(|named| named.path.clone()).collect());
    let only = |root: &PathBuf| {
        let below = scanned.iter().filter_map(|path| path.strip_prefix(root).ok());
        below.filter(|path| !path.as_os_str().is_empty()).map(Path::to_owned).collect()
    };
    roots.into_iter().map(|root| (root.clone(), only(&root))).collect()
}

/// Leaves out what lies below another path of the list, and what stands there twice; keeps the order.
fn outermost(paths: Vec<PathBuf>) -> Vec<PathBuf> {
    let is_outer = |(index, path): (usize, &PathBuf)| {
        !paths
            .iter()
            .enumerate()
            .any(|(other, outer)| path.starts_with(outer) && (path != outer || other < index))
    };
    let kept: Vec<bool> = paths.iter().enumerate().map(is_outer).collect();
    paths.into_iter().zip(kept).filter_map(|(path, kept)| kept.then_some(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arguments that end in `/` are folders.
    fn check(named: &[&str], expected: &[(&str, &[&str])]) {
        let named: Vec<_> = named
            .iter()
            .map(|path| Named { path: path.trim_end_matches('/').into(), is_folder: path.ends_with('/') })
            .collect();
        let expected: Vec<(PathBuf, Vec<PathBuf>)> = expected
            .iter()
            .map(|(root, only)| (root.into(), only.iter().map(PathBuf::from).collect()))
            .collect();
        assert_eq!(fold(&named), expected);
    }

    #[test]
    fn every_path_is_scanned_once_under_its_outermost_root() {
        check(&["/d/a/"], &[("/d/a", &[])]);
        check(&["/d/x.tif", "/d/y.tif", "/d/x.tif"], &[("/d", &["x.tif", "y.tif"])]);
        check(&["/d/x.tif", "/d/sub/y.tif"], &[("/d", &["x.tif", "sub/y.tif"])]);
        check(&["/d/sub/y.tif", "/d/x.tif"], &[("/d", &["sub/y.tif", "x.tif"])]);
        check(&["/d/", "/d/x.tif", "/d/sub/", "/d/"], &[("/d", &[])]);
        check(&["/d/sub/", "/d/sub/y.tif", "/d/x.tif"], &[("/d", &["sub", "x.tif"])]);
        check(&["/d/a/", "/d/ab/x.tif", "/e/"], &[("/d/a", &[]), ("/d/ab", &["x.tif"]), ("/e", &[])]);
    }

    #[test]
    fn one_root_holds_everything_that_was_named() {
        let check = |roots: &[(&str, &[&str])], (root, below): (&str, &[&str])| {
            let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
            let (roots, only) = roots.iter().map(|(root, only)| (PathBuf::from(root), paths(only))).unzip();
            let (folders, only) = below_one_root((Folders { roots, output: "/out".into() }, only));
            assert_eq!((folders.roots, only), (paths(&[root]), vec![paths(below)]));
        };
        check(&[("/d/10x", &[]), ("/d/40x", &[])], ("/d", &["10x", "40x"]));
        check(
            &[("/d/ab", &["x.tif", "y.tif"]), ("/d/a/40x", &[])],
            ("/d", &["ab/x.tif", "ab/y.tif", "a/40x"]),
        );
        check(&[("/d", &["x.tif"])], ("/d", &["x.tif"]));
        check(&[("/d", &[])], ("/d", &[]));
    }

    #[test]
    fn the_output_may_lie_beside_a_named_file_but_not_in_a_named_folder() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().canonicalize().unwrap();
        let (file, sub) = (place.join("x.tif"), place.join("sub"));
        std::fs::write(&file, b"x").unwrap();
        std::fs::create_dir(&sub).unwrap();
        for output in [place.clone(), place.join("out")] {
            let (folders, only) = resolve_scanned(std::slice::from_ref(&file), &output).unwrap();
            assert_eq!((folders.roots, folders.output), (vec![place.clone()], output));
            assert_eq!(only, [[PathBuf::from("x.tif")]]);
        }
        for (paths, output) in [
            (vec![place.clone()], place.join("out")),
            (vec![file.clone(), sub.clone()], sub.join("out")),
            (vec![file.clone()], file.clone()),
            (vec![place.join("gone.tif")], place.join("out")),
        ] {
            assert!(resolve_scanned(&paths, &output).is_err(), "{paths:?} {output:?}");
        }
    }
}
