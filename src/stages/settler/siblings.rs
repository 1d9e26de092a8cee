//! Finished files of the same run beside a growing one: their names differ in the sequence number, and in the well.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::formats::{Hint, Limits};
use crate::platform::filesystem;

/// Siblings that are asked, the newest first.
const SIBLINGS_MAX: usize = 8;

/// What the finished siblings of an ND2 file say, the newest first.
pub(crate) fn hints(path: &Path, limits: &Limits) -> impl Iterator<Item = Hint> {
    let read =
        |path: PathBuf| Hint::of_finished(Box::new(filesystem::open_regular(&path).ok()?.0), limits).ok();
    newest(path).into_iter().filter_map(read)
}

fn newest(path: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Vec::new() };
    let Some(own) = name.to_str().and_then(mask) else { return Vec::new() };
    let is_sibling = |other: &std::fs::DirEntry| {
        let other = other.file_name();
        other != name && other.to_str().and_then(mask).is_some_and(|other| other == own)
    };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut siblings: Vec<(SystemTime, PathBuf)> = entries
        .flatten()
        .filter(|entry| is_sibling(entry) && entry.file_type().is_ok_and(|kind| kind.is_file()))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    siblings.sort_unstable_by(|a, b| b.cmp(a));
    siblings.truncate(SIBLINGS_MAX);
    siblings.into_iter().map(|(_, path)| path).collect()
}

/// The name without what differs between the files of a run: the number behind `Seq` (else the last number), and the
/// well behind `Well`. `None` for a name that has no such number.
fn mask(name: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let stem_length = lower.rfind('.').unwrap_or(lower.len());
    let digits_at = |at: usize| lower[at..stem_length].bytes().take_while(u8::is_ascii_digit).count();
    let behind_seq = lower[..stem_length].rfind("seq").map(|at| at + 3).filter(|at| digits_at(*at) > 0);
    let last_number = || {
        let end = lower[..stem_length].rfind(|c: char| c.is_ascii_digit())? + 1;
        Some(lower[..end].trim_end_matches(|c: char| c.is_ascii_digit()).len())
    };
    let start = behind_seq.or_else(last_number)?;
    let mut masked = format!("{}#{}", &name[..start], &name[start + digits_at(start)..]);
    if let Some(at) = masked.to_ascii_lowercase().find("well").map(|at| at + 4) {
        let well = masked[at..].bytes().take_while(u8::is_ascii_alphanumeric).count();
        masked.replace_range(at..at + well, "#");
    }
    Some(masked)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn files_of_a_run_differ_in_sequence_number_and_well() {
        let same = |a: &str, b: &str| mask(a).is_some() && mask(a) == mask(b);
        assert!(same("run1_Seq0000.nd2", "run1_Seq0017.nd2"));
        assert!(same("WellA01_ChannelDAPI_Seq0000.nd2", "WellH12_ChannelDAPI_Seq0095.nd2"));
        assert!(same("scan_3.nd2", "scan_12.nd2"));
        assert!(!same("run1_Seq0000.nd2", "run2_Seq0001.nd2"));
        assert!(!same("WellA01_ChannelDAPI_Seq0000.nd2", "WellA02_ChannelGFP_Seq0001.nd2"));
        assert_eq!(mask("overview.nd2"), None);
        assert_eq!(mask("µm_1é.nd2").as_deref(), Some("µm_#é.nd2"));
    }

    #[test]
    fn the_newest_siblings_come_first_and_the_file_itself_never() {
        let folder = tempfile::tempdir().unwrap();
        for (age, name) in ["r_Seq1.nd2", "r_Seq2.nd2", "r_Seq3.nd2", "q_Seq3.nd2"].iter().enumerate() {
            let file = File::create(folder.path().join(name)).unwrap();
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1000 - age as u64);
            file.set_modified(time).unwrap();
        }
        std::fs::create_dir(folder.path().join("r_Seq4.nd2")).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.path().join("r_Seq1.nd2"), folder.path().join("r_Seq5.nd2"))
            .unwrap();
        let names: Vec<_> = newest(&folder.path().join("r_Seq2.nd2"))
            .iter()
            .map(|path| path.file_name().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["r_Seq1.nd2", "r_Seq3.nd2"]);
    }
}
