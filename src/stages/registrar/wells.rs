//! What the fields of a well tell of one another: the transform of all that were found by their points alone, and with
//! it those that were refused, or not even tried because the stage put them elsewhere.
//!
//! Works from what the ledger holds, well by well, beside the line; marks in the ledger say which wells have changed. So
//! what stands in the end follows from the fields alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::desk::Desk;
use super::fields::Names;
use super::pairing::{Place, is_one_well, pairing, scale_prior, side_of_pair, stage_of_pair};
use crate::actor::{StageCounters, StageError};
use crate::analysis::registration::Expected;
use crate::analysis::registration::well::{Landing, WellFit, WellTransform};
use crate::geometry::Affine;
use crate::stages::bookkeeping::Bookkeeping;
use crate::store::{
    DueWells, FoundByWell, Identity, KnownRegistration, LedgerError, LedgerReader, Lot, PixelsOf,
    RegistrablePlane, Side, View, WellKey, WellSettled, is_found_by_well, landing_of,
};

/// Pause between two looks for wells that have changed: at least this, so many times the time that the last look took, and
/// at most that.
const PAUSE_MIN: Duration = Duration::from_secs(2);
const PAUSE_BY_WORK: u32 = 20;
const PAUSE_MAX: Duration = Duration::from_secs(600);
/// Share of the fine field that must lie in the overview for it to be looked for there.
const OVERLAP_MIN: f64 = 0.25;
/// Places, rotations and scales are rounded to these steps before a field is looked for, so that a transform that hardly
/// changes with more fields changes no result: um, degrees, a share.
const PLACE_STEP_UM: f64 = 1.0;
const ROTATION_STEP_DEG: f64 = 0.1;
const SCALE_STEP: f64 = 0.001;
/// How far off the rotation and the scale of a field may be from those of the others.
const ROTATION_TOLERANCE_RAD: f64 = 0.01;
const SCALE_TOLERANCE: f64 = 0.01;

/// Goes over the wells that have changed.
#[derive(Clone)]
pub struct Wells {
    desk: Desk,
    books: Bookkeeping,
}

/// The fields of the ledger, by lot.
type Lots = BTreeMap<Lot, Vec<Member>>;

/// A field that can be registered.
#[derive(Debug, Clone, Copy)]
struct Member {
    key: PixelsOf,
    place: Place,
}

/// What is to be gone over.
struct Due {
    last: i64,
    /// The pairs of lots of which one has changed.
    wells: Vec<WellKey>,
    lots: Lots,
    standing: HashMap<WellKey, WellTransform>,
}

/// What is known of fine fields, by position, in their overviews.
type Known = HashMap<(usize, PixelsOf), KnownRegistration>;

impl Wells {
    pub(super) fn new(desk: Desk, books: Bookkeeping) -> Self {
        Self { desk, books }
    }

    /// Goes over wells as they change, until the drain.
    ///
    /// # Errors
    /// Fatal, when the ledger cannot be read or written.
    pub async fn keep_settled(
        self,
        drain: CancellationToken,
        counters: Arc<StageCounters>,
    ) -> Result<(), StageError> {
        let mut pause = PAUSE_MIN;
        while drain.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
            let started = Instant::now();
            self.settle_all(&drain, &counters).await?;
            pause = (started.elapsed() * PAUSE_BY_WORK).clamp(PAUSE_MIN, PAUSE_MAX);
        }
        Ok(())
    }

    /// Goes once over every well that has changed; what is not reached before the drain is left for the next time.
    ///
    /// # Errors
    /// Fatal, when the ledger cannot be read or written.
    pub async fn settle_all(
        &self,
        drain: &CancellationToken,
        counters: &Arc<StageCounters>,
    ) -> Result<(), StageError> {
        let _work = counters.begin_work();
        let due = self.desk.read(|reader| reader.in_snapshot(Due::read)).await?;
        let Some(Due { last, wells, lots, standing }) = due else { return Ok(()) };
        for key in wells {
            let of = |lot: &Lot| lots.get(lot).cloned().unwrap_or_default();
            let (moving, reference) = (of(&key.moving), of(&key.reference));
            let before = standing.get(&key);
            let settled = self.settle(key, (&moving, &reference), counters, drain).await?;
            let Some(settled) = settled else { return Ok(()) };
            if !settled.found.is_empty() || settled.transform.as_ref() != before {
                self.books.patiently(counters, self.books.settle_well(settled)).await?;
            }
        }
        self.books.patiently(counters, self.books.wells_settled(last)).await
    }

    /// Fits the transform of a well, and looks with it for the pairs that were not found by themselves; none when the drain
    /// comes first.
    async fn settle(
        &self,
        key: WellKey,
        (moving, reference): (&[Member], &[Member]),
        counters: &StageCounters,
        drain: &CancellationToken,
    ) -> Result<Option<WellSettled>, StageError> {
        let mut known = self.known(moving).await?;
        let landings = moving.iter().enumerate().flat_map(|(m, field)| {
            let known = &known;
            reference
                .iter()
                .filter_map(move |overview| landing(field, overview, known.get(&(m, overview.key))?))
        });
        let fit = WellFit::new(&landings.collect::<Vec<_>>());
        let mut found = Vec::new();
        for (m, field) in moving.iter().enumerate() {
            // pairs are many where no well is named, and most of them are nowhere near one another
            tokio::task::yield_now().await;
            for overview in reference {
                if side_of_pair(&field.place, &overview.place) != Some(Side::Moving) {
                    continue;
                }
                if drain.is_cancelled() {
                    return Ok(None);
                }
                counters.progress();
                let known = known.remove(&(m, overview.key));
                found.extend(self.look(fit.as_ref(), (field, overview), known).await?);
            }
        }
        Ok(Some(WellSettled { key, transform: fit.map(|fit| fit.transform), found }))
    }

    /// Looks for a field where the transform puts it, unless it was found by itself; none where nothing is to be said of it.
    async fn look(
        &self,
        fit: Option<&WellFit>,
        (moving, reference): (&Member, &Member),
        known: Option<KnownRegistration>,
    ) -> Result<Option<FoundByWell>, StageError> {
        let is_by_well = known.as_ref().is_some_and(|known| is_found_by_well(&known.result));
        if known.is_some_and(|known| known.is_accepted) && !is_by_well {
            return Ok(None);
        }
        let mut near = None;
        if let Some(expected) = fit.and_then(|fit| expected(fit, &moving.place, &reference.place)) {
            let views = (moving.place.view, reference.place.view);
            near = self.desk.find_near((&moving.key, &reference.key), views, expected).await?;
        }
        if let Some(near) = &mut near {
            let by = pairing(&moving.place, &reference.place).map_or("offset", |pair| pair.by.name());
            near.result.insert("paired_by".into(), by.into());
        }
        let is_news = near.is_some() || is_by_well;
        Ok(is_news.then_some(FoundByWell { moving: moving.key, reference: reference.key, found: near }))
    }

    /// What is known of the pairs of these fields.
    async fn known(&self, moving: &[Member]) -> Result<Known, StageError> {
        let keys: Vec<PixelsOf> = moving.iter().map(|field| field.key).collect();
        let read = move |reader: &LedgerReader| {
            let mut found = Known::new();
            for (m, key) in keys.iter().enumerate() {
                let known = reader.registrations_of(key)?.into_iter();
                found.extend(known.map(|known| ((m, known.reference), known)));
            }
            Ok(found)
        };
        self.desk.read(read).await
    }
}

impl Due {
    /// Finds what is to be gone over; none where nothing has changed.
    fn read(reader: &LedgerReader) -> Result<Option<Self>, LedgerError> {
        let Some(DueWells { last, lots: changed }) = reader.due_wells()? else { return Ok(None) };
        let roots: HashMap<i64, String> =
            reader.roots()?.into_iter().map(|root| (root.id, root.name)).collect();
        let (mut names, mut lots) = (Names::default(), Lots::new());
        reader.registrable_planes(|plane| {
            let RegistrablePlane { root_id, key, identity, view } = plane;
            let lot = Lot::new(roots.get(&root_id).map_or("", String::as_str), &identity);
            let place = names.place(root_id, &identity, view);
            lots.entry(lot).or_default().push(Member { key, place });
        })?;
        lots.values_mut().for_each(|members| members.sort_unstable_by_key(|member| member.key));
        let mut place_of = |lot: &Lot| {
            let root_id = roots.iter().find(|(_, name)| **name == lot.root).map_or(0, |(id, _)| *id);
            let Lot { plate, cycle, well, .. } = lot.clone();
            names.place(root_id, &Identity { plate, cycle, well, ..Identity::default() }, View::default())
        };
        let places: Vec<(&Lot, Place)> = lots.keys().map(|lot| (lot, place_of(lot))).collect();
        let mut wells = BTreeSet::new();
        for lot in &changed {
            let place = place_of(lot);
            for (other, _) in places.iter().filter(|(_, other)| is_one_well(&place, other)) {
                for (moving, reference) in [(lot, *other), (*other, lot)] {
                    wells.insert(WellKey { moving: moving.clone(), reference: reference.clone() });
                }
            }
        }
        let standing: HashMap<WellKey, WellTransform> = reader.wells()?.into_iter().collect();
        // of lots that have no field any more, too
        let is_touched = |key: &&WellKey| changed.contains(&key.moving) || changed.contains(&key.reference);
        wells.extend(standing.keys().filter(is_touched).cloned());
        Ok(Some(Self { last, wells: wells.into_iter().collect(), lots, standing }))
    }
}

/// What a pair that was found by its points says of where the stage stood.
fn landing(moving: &Member, reference: &Member, known: &KnownRegistration) -> Option<Landing> {
    if !known.is_accepted || is_found_by_well(&known.result) {
        return None;
    }
    let stage_um = stage_of_pair(&moving.place, &reference.place)?;
    landing_of((&moving.place.view, &reference.place.view), stage_um, &known.result)
}

/// Where the transform of a well puts a field in an overview; none where it cannot tell, or too little of the field
/// would lie there.
fn expected(fit: &WellFit, moving: &Place, reference: &Place) -> Option<Expected> {
    let (moving_um, reference_um) = stage_of_pair(moving, reference)?;
    let um = reference.view.pixel_size_um?;
    let radius_um = rounded(fit.radius_um(moving_um, reference_um)? + PLACE_STEP_UM, 2.0 * PLACE_STEP_UM);
    let well = &fit.transform;
    let scale = scale_prior(&moving.view, &reference.view)? * rounded(well.image_scale_ratio, SCALE_STEP);
    let rotation_rad = rounded(well.image_rotation_deg, ROTATION_STEP_DEG).to_radians();
    let turn = Affine::similarity(scale, rotation_rad, well.image_mirrored, [0.0; 2]);
    let found_um = well.predict_um(moving_um, reference_um).map(|value| rounded(value, PLACE_STEP_UM));
    let [x, y] = turn.apply(moving.view.centre_px());
    let middle = reference.view.centre_px();
    let shift = [middle[0] + found_um[0] / um - x, middle[1] + found_um[1] / um - y];
    let reference_from_moving = Affine::from_parts(turn.linear(), shift);
    let views = (&moving.view, &reference.view);
    let is_there =
        is_near(found_um, views, um) && overlap(&reference_from_moving, views.0, views.1) >= OVERLAP_MIN;
    is_there.then_some(Expected {
        reference_from_moving,
        radius_px: radius_um / um,
        rotation_tolerance_rad: ROTATION_TOLERANCE_RAD,
        scale_tolerance: SCALE_TOLERANCE,
    })
}

/// Whether a field may touch an overview at all, from how far the centres are apart.
fn is_near([x, y]: [f64; 2], (moving, reference): (&View, &View), reference_um: f64) -> bool {
    let half_diagonal = |view: &View| f64::from(view.width).hypot(f64::from(view.height)) / 2.0;
    let moving_um = moving.pixel_size_um.unwrap_or(reference_um);
    x.hypot(y) <= half_diagonal(moving) * moving_um + half_diagonal(reference) * reference_um
}

/// The share of a field that lies in an overview, by a grid of its places.
fn overlap(reference_from_moving: &Affine, moving: &View, reference: &View) -> f64 {
    const N: u32 = 16;
    let at = |n: u32, length: u32| (f64::from(n) + 0.5) / f64::from(N) * f64::from(length) - 0.5;
    let is_inside = |(row, column): (u32, u32)| {
        let [x, y] = reference_from_moving.apply([at(column, moving.width), at(row, moving.height)]);
        let is_within = |value: f64, length: u32| value >= -0.5 && value <= f64::from(length) - 0.5;
        is_within(x, reference.width) && is_within(y, reference.height)
    };
    let places = (0..N).flat_map(|row| (0..N).map(move |column| (row, column)));
    places.filter(|place| is_inside(*place)).count() as f64 / f64::from(N * N)
}

/// The nearest multiple of a step.
fn rounded(value: f64, step: f64) -> f64 {
    (value / step).round() * step
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(side: u32) -> View {
        View { height: side, width: side, pixel_size_um: Some(1.0), ..View::default() }
    }

    #[test]
    fn a_field_that_hangs_over_the_border_overlaps_by_what_is_inside() {
        let at =
            |shift: [f64; 2]| overlap(&Affine::similarity(0.25, 0.0, false, shift), &view(400), &view(1000));
        assert_eq!(at([300.0, 300.0]), 1.0);
        assert_eq!(at([-50.0, 300.0]), 0.5);
        assert_eq!(at([-50.0, 950.0]), 0.25);
        assert_eq!(at([-101.0, 300.0]), 0.0);
    }
}
