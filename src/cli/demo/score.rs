//! What was found against what was planted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::analysis::synthesis::truth::{Condition, Relation, Truth};
use crate::geometry::Affine;
use crate::units::PlaneIndex;

use super::found::{Found, PlaneName};

/// The greatest error of a registration that counts as right, at the worst corner, in pixels of the 10x image.
const ERROR_MAX_PX: f64 = 1.0;
/// The relation that links magnifications: no duplicate.
const OTHER_MAGNIFICATION: &str = "other_magnification";

/// One kind of thing that can be found.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Kind {
    pub(super) name: String,
    pub(super) n_planted: usize,
    pub(super) n_found: usize,
    /// Planted, but not found.
    pub(super) missed: Vec<String>,
    /// Found, but not planted.
    pub(super) invented: Vec<String>,
    /// A word to the row.
    pub(super) note: String,
}

/// Everything that was planted and found.
#[derive(Debug, PartialEq)]
pub(super) struct Score {
    pub(super) kinds: Vec<Kind>,
}

/// Compares the reports with the truth.
pub(super) fn score(truth: &Truth, found: &Found) -> Score {
    let mut kinds = relations(truth, found);
    kinds.push(blank(truth, found));
    kinds.push(rejected(truth, found));
    kinds.extend(growing(truth, found));
    kinds.push(registered(truth, found));
    kinds.push(planes(truth, found));
    Score { kinds }
}

impl Kind {
    /// Compares two lists; what is found twice is invented once.
    fn of(name: &str, planted: BTreeSet<String>, found: Vec<String>) -> Self {
        let mut seen = BTreeSet::new();
        let mut invented = Vec::new();
        for item in &found {
            if !seen.insert(item) || !planted.contains(item) {
                invented.push(item.clone());
            }
        }
        let missed: Vec<_> = planted.iter().filter(|item| !seen.contains(item)).cloned().collect();
        Self {
            name: name.to_owned(),
            n_planted: planted.len(),
            n_found: planted.len() - missed.len() + invented.len(),
            missed,
            invented,
            note: String::new(),
        }
    }
}

fn name((file, plane): &PlaneName) -> String {
    format!("{file} {plane}")
}

/// Two planes, whichever comes first.
fn pair(a: &PlaneName, b: &PlaneName) -> String {
    let [first, second] = if a <= b { [a, b] } else { [b, a] };
    format!("{} = {}", name(first), name(second))
}

fn plane(file: &str, index: PlaneIndex) -> PlaneName {
    (file.to_owned(), index.to_string())
}

fn relations(truth: &Truth, found: &Found) -> Vec<Kind> {
    let linked = truth.registrations.iter().map(|link| {
        pair(&plane(&link.moving_file, link.moving_plane), &plane(&link.reference_file, link.reference_plane))
    });
    let linked: BTreeSet<_> = linked.collect();
    let mut reported = BTreeMap::<&str, Vec<String>>::new();
    for (a, b, relation) in &found.pairs {
        let pair = pair(a, b);
        if relation != OTHER_MAGNIFICATION || !linked.contains(&pair) {
            reported.entry(relation).or_default().push(pair);
        }
    }
    let mut kinds: Vec<_> = Relation::ALL
        .into_iter()
        .map(|relation| {
            let planted = truth.relations.iter().filter(|pair| pair.relation == relation);
            let planted =
                planted.map(|own| pair(&plane(&own.file_a, own.plane_a), &plane(&own.file_b, own.plane_b)));
            Kind::of(relation.name(), planted.collect(), reported.remove(relation.name()).unwrap_or_default())
        })
        .collect();
    // relations of which none was planted
    kinds.extend(reported.into_iter().map(|(relation, pairs)| Kind::of(relation, BTreeSet::new(), pairs)));
    kinds
}

fn blank(truth: &Truth, found: &Found) -> Kind {
    let planes = truth.files.iter().flat_map(|file| file.planes.iter().map(move |plane| (file, plane)));
    let planted =
        planes.filter(|(_, own)| own.is_blank).map(|(file, own)| name(&plane(&file.file, own.plane)));
    Kind::of("blank", planted.collect(), found.blank.iter().map(name).collect())
}

fn rejected(truth: &Truth, found: &Found) -> Kind {
    let planted = truth.files.iter().filter(|file| file.condition == Condition::Rejected);
    Kind::of("rejected", planted.map(|file| file.file.clone()).collect(), found.rejected.clone())
}

/// Planes that were reported before their file was complete.
fn growing(truth: &Truth, found: &Found) -> Option<Kind> {
    let growing = &truth.growing.as_ref()?.file;
    let planes = &truth.file(growing)?.planes;
    let planted = planes.iter().map(|own| name(&plane(growing, own.plane))).collect();
    let early = found.planes.iter().filter(|((file, _), is_complete)| file == growing && !is_complete);
    Some(Kind::of("reported_while_growing", planted, early.map(|(plane, _)| name(plane)).collect()))
}

/// Every plane that can be read has one line.
fn planes(truth: &Truth, found: &Found) -> Kind {
    let all =
        truth.files.iter().flat_map(|file| file.planes.iter().map(|own| name(&plane(&file.file, own.plane))));
    let mut kind =
        Kind::of("planes", all.collect(), found.planes.iter().map(|(plane, _)| name(plane)).collect());
    kind.note = "one line each".to_owned();
    kind
}

/// 40x fields whose place in their overview is right. Fields that truly lie in one another may also be registered
/// where nobody asked for it: only wrong places are invented.
fn registered(truth: &Truth, found: &Found) -> Kind {
    let key = |moving: &PlaneName, reference: &PlaneName| format!("{} in {}", name(moving), name(reference));
    let planted = truth.registrations.iter().filter(|own| own.is_expected).map(|own| {
        key(&plane(&own.moving_file, own.moving_plane), &plane(&own.reference_file, own.reference_plane))
    });
    let planted: BTreeSet<_> = planted.collect();
    let mut right = Vec::new();
    let mut wrong = Vec::new();
    let mut errors = Vec::new();
    for (moving, reference, map) in &found.registrations {
        let key = key(moving, reference);
        let error_px = error_px(truth, (moving, reference), map);
        if planted.contains(&key) {
            errors.extend(error_px);
        }
        match error_px {
            Some(error) if error <= ERROR_MAX_PX => right.push(key),
            Some(error) => wrong.push(format!("{key}: {error:.2} px off")),
            None => wrong.push(key),
        }
    }
    right.retain(|key| planted.contains(key));
    // the same pair may be renewed
    right.sort();
    right.dedup();
    let mut kind = Kind::of("registered_40x", planted, right);
    kind.n_found += wrong.len();
    kind.invented.extend(wrong);
    errors.sort_by(f64::total_cmp);
    if let (Some(median), Some(most)) = (errors.get(errors.len() / 2), errors.last()) {
        kind.note = format!("error at the worst corner: median {median:.3} px, most {most:.3} px at 10x");
    }
    kind
}

/// How far the transform puts the worst corner from where it is, in reference pixels; nothing where the planes
/// are not known.
fn error_px(truth: &Truth, (moving, reference): (&PlaneName, &PlaneName), map: &Affine) -> Option<f64> {
    let geometry = |(file, plane): &PlaneName| {
        let file = truth.file(file)?;
        let own = file.planes.iter().find(|own| own.plane.to_string() == *plane)?;
        Some((file.dims, own.plate_um_from_px))
    };
    let (dims, plate_from_moving) = geometry(moving)?;
    let (_, plate_from_reference) = geometry(reference)?;
    let true_map = plate_from_reference.inverse()?.after(&plate_from_moving);
    let (right, bottom) = (f64::from(dims.x) - 1.0, f64::from(dims.y) - 1.0);
    let corners = [[0.0, 0.0], [right, 0.0], [0.0, bottom], [right, bottom]];
    let errors = corners.map(|corner| {
        let ([x, y], [true_x, true_y]) = (map.apply(corner), true_map.apply(corner));
        (x - true_x).hypot(y - true_y)
    });
    Some(errors.into_iter().fold(0.0, f64::max))
}

impl Score {
    fn n_missed(&self) -> usize {
        self.kinds.iter().map(|kind| kind.missed.len()).sum()
    }

    fn n_invented(&self) -> usize {
        self.kinds.iter().map(|kind| kind.invented.len()).sum()
    }

    /// Whether nothing is missed and nothing invented.
    pub(super) fn is_perfect(&self) -> bool {
        self.n_missed() + self.n_invented() == 0
    }

    /// The counts for programs.
    pub(super) fn to_json(&self, report: &Path) -> Value {
        let counts = |count: fn(&Kind) -> usize| -> Map<String, Value> {
            self.kinds.iter().map(|kind| (kind.name.clone(), count(kind).into())).collect()
        };
        json!({
            "planted": counts(|kind| kind.n_planted),
            "found": counts(|kind| kind.n_found),
            "missed": self.n_missed(),
            "invented": self.n_invented(),
            "report": report.display().to_string(),
        })
    }
}

/// The table, and below it everything that is missed or invented.
impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<24}{:>8}{:>8}{:>8}{:>10}", "", "planted", "found", "missed", "invented")?;
        for kind in &self.kinds {
            let Kind { name, n_planted, n_found, missed, invented, note } = kind;
            let row = format!(
                "{name:<24}{n_planted:>8}{n_found:>8}{:>8}{:>10}  {note}",
                missed.len(),
                invented.len()
            );
            writeln!(f, "{}", row.trim_end())?;
        }
        for kind in &self.kinds {
            kind.missed.iter().try_for_each(|item| writeln!(f, "missed: {} {item}", kind.name))?;
            kind.invented.iter().try_for_each(|item| writeln!(f, "invented: {} {item}", kind.name))?;
        }
        Ok(())
    }
}
