//! Fields of real files and their overviews, whose truth nobody knows: which were registered, and how both optimizers got
//! there.

use serde::Serialize;

use super::findings::SOLVER_TITLES;
use super::statistics::{median, wilson};

/// A pair of a fine field and an overview that was tried.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RealPair {
    /// File and plane of the fine field.
    pub moving: [String; 2],
    /// File and plane of the overview.
    pub reference: [String; 2],
    /// What was found; `None` where the pair was refused.
    pub found: Option<RealFit>,
    /// Why it was refused.
    pub reason: Option<String>,
    /// Logarithm of how often chance would do as well.
    pub log10_chance: Option<f64>,
}

/// What was found of a pair.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RealFit {
    /// Nuclei that were paired.
    pub n_pairs: u64,
    /// Root mean square distance of the pairs in px of the overview.
    pub rmsd_px: f64,
    /// How far the transform is off, as the scatter of the pairs lets expect, in px of the overview.
    pub expected_tre_px: Option<f64>,
    /// Pixels of the overview per pixel of the field.
    pub scale: f64,
    /// Rotation in degrees.
    pub rotation_deg: f64,
    /// In the order of [`SOLVER_TITLES`].
    pub solvers: [RealRun; 2],
}

/// What one optimizer did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RealRun {
    /// Root mean square distance of the pairs in px of the overview.
    pub rmsd_px: f64,
    /// Steps.
    pub n_iterations: u64,
    /// Passes over the pairs that computed residuals.
    pub n_residual_passes: u64,
    /// Passes over the pairs that computed derivatives.
    pub n_jacobian_passes: u64,
    /// Microseconds of this one run.
    pub time_us: f64,
    /// The most bytes held at one time.
    pub peak_bytes: Option<u64>,
    /// Why it stopped.
    pub stop_reason: String,
}

/// All pairs, summed up.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RealSummary {
    /// Pairs that were tried.
    pub n_pairs_of_fields: usize,
    /// Those that were accepted, and the share with its interval of 95 %.
    pub n_accepted: usize,
    /// The interval of the share.
    pub accepted_interval: [f64; 2],
    /// Fine fields that found an overview, and all that were tried.
    pub n_fields: [usize; 2],
    /// Median of the expected errors in px of the overview.
    pub expected_tre_median_px: Option<f64>,
    /// Median root mean square distance in px of the overview.
    pub rmsd_median_px: Option<f64>,
    /// Per solver, the median of the passes of both kinds.
    pub passes_median: [Option<f64>; 2],
    /// Per solver, the median of microseconds.
    pub time_us_median: [Option<f64>; 2],
    /// The largest distance between both results' root mean square distances in px.
    pub rmsd_difference_max_px: f64,
}

/// Sums up what was tried.
pub fn real_summary(pairs: &[RealPair]) -> RealSummary {
    let found: Vec<&RealFit> = pairs.iter().filter_map(|pair| pair.found.as_ref()).collect();
    let of = |pick: &dyn Fn(&RealFit) -> Option<f64>| {
        median(&found.iter().filter_map(|fit| pick(fit)).collect::<Vec<_>>())
    };
    let n_fields = |is_member: &dyn Fn(&RealPair) -> bool| {
        let mut fields: Vec<_> =
            pairs.iter().filter(|pair| is_member(pair)).map(|pair| &pair.moving).collect();
        fields.sort_unstable();
        fields.dedup();
        fields.len()
    };
    let passes = |run: &RealRun| (run.n_residual_passes + run.n_jacobian_passes) as f64;
    let difference = |fit: &&RealFit| (fit.solvers[0].rmsd_px - fit.solvers[1].rmsd_px).abs();
    RealSummary {
        n_pairs_of_fields: pairs.len(),
        n_accepted: found.len(),
        accepted_interval: wilson(found.len(), pairs.len()),
        n_fields: [n_fields(&|pair| pair.found.is_some()), n_fields(&|_| true)],
        expected_tre_median_px: of(&|fit| fit.expected_tre_px),
        rmsd_median_px: of(&|fit| Some(fit.rmsd_px)),
        passes_median: [0, 1].map(|solver| of(&|fit| Some(passes(&fit.solvers[solver])))),
        time_us_median: [0, 1].map(|solver| of(&|fit| Some(fit.solvers[solver].time_us))),
        rmsd_difference_max_px: found.iter().map(difference).fold(0.0, f64::max),
    }
}

/// What the pairs come to.
pub fn real_conclusion(summary: &RealSummary) -> Vec<String> {
    let RealSummary { n_pairs_of_fields, n_accepted, n_fields: [n_placed, n_fields], .. } = summary;
    if *n_pairs_of_fields == 0 {
        return vec!["No pair of a fine field and an overview was found among the files.".to_owned()];
    }
    let mut sentences = vec![format!(
        "Of {n_fields} fine fields, {n_placed} are placed in an overview; of {n_pairs_of_fields} pairs that were tried, \
         {n_accepted} are accepted and the others refused."
    )];
    if let (Some(rmsd), Some(expected)) = (summary.rmsd_median_px, summary.expected_tre_median_px) {
        sentences.push(format!(
            "The pairs of nuclei lie {rmsd:.2} px of the overview apart (median root mean square distance); their scatter \
             lets expect an error of {expected:.3} px of the transform."
        ));
    }
    if let ([Some(lbfgsb), Some(lm)], [Some(lbfgsb_us), Some(lm_us)]) =
        (summary.passes_median, summary.time_us_median)
    {
        sentences.push(format!(
            "{} takes {lbfgsb:.0} passes and {lbfgsb_us:.0} us, {} {lm:.0} passes and {lm_us:.0} us in the median; their \
             results differ by {:.1e} px at most in root mean square distance.",
            SOLVER_TITLES[0], SOLVER_TITLES[1], summary.rmsd_difference_max_px
        ));
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(site: &str, n_passes: Option<u64>) -> RealPair {
        let run = |n_passes: u64| RealRun {
            rmsd_px: 0.5 + 1e-9 * n_passes as f64,
            n_iterations: 3,
            n_residual_passes: n_passes,
            n_jacobian_passes: n_passes,
            time_us: 10.0 * n_passes as f64,
            peak_bytes: None,
            stop_reason: "cost".to_owned(),
        };
        let found = n_passes.map(|n| RealFit {
            n_pairs: 40,
            rmsd_px: 0.5,
            expected_tre_px: Some(0.08),
            scale: 0.25,
            rotation_deg: 1.0,
            solvers: [run(2 * n), run(n)],
        });
        let name = |file: &str| [file.to_owned(), "t0p0z0c0".to_owned()];
        RealPair { moving: name(site), reference: name("overview"), found, reason: None, log10_chance: None }
    }

    #[test]
    fn fields_are_counted_once_and_medians_are_of_accepted_pairs() {
        let pairs = [pair("a", Some(4)), pair("a", None), pair("b", None), pair("c", Some(6))];
        let summary = real_summary(&pairs);
        assert_eq!((summary.n_accepted, summary.n_fields), (2, [2, 3]));
        assert_eq!(
            (summary.passes_median, summary.time_us_median[1]),
            ([Some(20.0), Some(10.0)], Some(50.0))
        );
        let text = real_conclusion(&summary).join("\n");
        assert!(
            text.contains("Of 3 fine fields, 2 are placed") && text.contains("4 pairs that were tried"),
            "{text}"
        );
        assert!(text.contains("20 passes and 100 us") && text.contains("differ by 6.0e-9 px"), "{text}");
    }

    #[test]
    fn nothing_to_try_is_said() {
        assert!(real_conclusion(&real_summary(&[])).join("").starts_with("No pair"));
    }
}
