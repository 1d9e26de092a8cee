//! The runs of each object of a label image.

use rayon::prelude::*;

use super::LabelImage;
use super::components::Run;

/// Rows that are looked through in one go.
const BAND_ROWS: usize = 128;

/// Runs sorted by label, in raster order within.
#[derive(Debug)]
pub(super) struct LabelRuns {
    runs: Vec<Run>,
    /// Where each label's runs start, label 1 first, and the end of the last.
    starts: Vec<u32>,
}

impl LabelRuns {
    /// Finds them; labels above `n_objects` are left out.
    pub(super) fn of(labels: &LabelImage) -> Self {
        let width = labels.width.max(1);
        let bands = labels.labels.par_chunks(BAND_ROWS * width).enumerate();
        let bands: Vec<Vec<(u32, Run)>> = bands
            .map(|(band, rows)| {
                let mut runs = Vec::new();
                for (row, labels) in (band * BAND_ROWS..).zip(rows.chunks_exact(width)) {
                    append_runs(&mut runs, labels, row as u32);
                }
                runs
            })
            .collect();
        let n = labels.n_objects as usize;
        let mut starts = vec![0_u32; n + 1];
        let known = || bands.iter().flatten().filter(|(label, _)| *label as usize <= n);
        for (label, _) in known() {
            starts[*label as usize] += 1;
        }
        for label in 1..starts.len() {
            starts[label] += starts[label - 1];
        }
        let mut next = starts.clone();
        let mut runs = vec![Run { row: 0, start: 0, end: 0 }; starts[n] as usize];
        for (label, run) in known() {
            let place = &mut next[*label as usize - 1];
            runs[*place as usize] = *run;
            *place += 1;
        }
        Self { runs, starts }
    }

    /// The runs of each label from 1 on; none for a label that no pixel has.
    pub(super) fn par_iter(&self) -> impl IndexedParallelIterator<Item = &[Run]> {
        self.starts.par_windows(2).map(|ends| &self.runs[ends[0] as usize..ends[1] as usize])
    }
}

/// Appends the runs of equal labels, background left out.
fn append_runs(runs: &mut Vec<(u32, Run)>, labels: &[u32], row: u32) {
    let mut x = 0;
    while x < labels.len() {
        // most of a plane is background: eight pixels at once
        if let Some(eight) = labels.get(x..x + 8)
            && eight.iter().fold(0, |any, label| any | label) == 0
        {
            x += 8;
            continue;
        }
        let label = labels[x];
        let n = labels[x..].iter().take_while(|&&other| other == label).count();
        if label != 0 {
            runs.push((label, Run { row, start: x as u32, end: (x + n) as u32 }));
        }
        x += n;
    }
}
