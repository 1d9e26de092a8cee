//! Which fields are tried with one another: two views of one place at different magnifications, as far as their
//! metadata tell.

use crate::store::{Side, View};

/// Coarser pixels by finer ones, from which on two views are of different magnification.
const RATIO_MIN: f64 = 1.5;
/// How far outside of the reference field the stage may put the centre of the moving one, in micrometres: errors of
/// the stage, and of objectives that do not look at the same spot.
const STAGE_MARGIN_UM: f64 = 50.0;

/// A name of a plate, cycle or well, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Name(pub(super) u32);

/// Where in the experiment a field was taken, and how.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    pub(super) root_id: i64,
    pub(super) plate: Option<Name>,
    pub(super) cycle: Option<Name>,
    pub(super) well: Option<Name>,
    pub(super) t: Option<i64>,
    pub(super) view: View,
}

/// What says that two fields show the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PairedBy {
    /// The stage stood over the same place.
    Stage,
    /// Both belong to one well, and the stage positions are not known.
    Well,
}

/// How one field pairs with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pairing {
    /// Which side the first of the two is.
    pub(super) side: Side,
    pub(super) by: PairedBy,
}

/// How `own` pairs with `other`, if it does; the same, with the sides exchanged, the other way round.
pub(super) fn pairing(own: &Place, other: &Place) -> Option<Pairing> {
    let side = side_of_pair(own, other)?;
    let by = match side {
        Side::Moving => paired_by(own, other),
        Side::Reference => paired_by(other, own),
    }?;
    Some(Pairing { side, by })
}

/// Which side `own` would be of a pair with `other`, as far as well, time and magnification tell, wherever the stage
/// stood.
pub(super) fn side_of_pair(own: &Place, other: &Place) -> Option<Side> {
    side(&own.view, &other.view).filter(|_| is_one_well(own, other) && agree(own.t, other.t))
}

/// Whether two fields may be of one well of one plate in one cycle.
pub(super) fn is_one_well(own: &Place, other: &Place) -> bool {
    same_plate(own, other) && agree(own.cycle, other.cycle) && agree(own.well, other.well)
}

/// Reference pixels per moving pixel, where both sizes are known. Magnifications do not tell it: they know neither
/// zoom nor binning.
pub(super) fn scale_prior(moving: &View, reference: &View) -> Option<f64> {
    Some(moving.pixel_size_um? / reference.pixel_size_um?)
}

/// One plate where both name one; else one watched folder. Two runs over a plate are no obstacle: each objective
/// often has its own.
fn same_plate(a: &Place, b: &Place) -> bool {
    match (a.plate, b.plate) {
        (Some(a), Some(b)) => a == b,
        _ => a.root_id == b.root_id,
    }
}

/// Equal where both are known.
fn agree<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
    a.zip(b).is_none_or(|(a, b)| a == b)
}

/// Which side `own` is: by the pixel sizes, or else, where one is not known, by the objectives.
fn side(own: &View, other: &View) -> Option<Side> {
    let sizes = own.pixel_size_um.zip(other.pixel_size_um);
    let powers = other.magnification.zip(own.magnification);
    let (own, other) = sizes.or(powers)?;
    if other >= RATIO_MIN * own {
        Some(Side::Moving)
    } else if own >= RATIO_MIN * other {
        Some(Side::Reference)
    } else {
        None
    }
}

fn paired_by(moving: &Place, reference: &Place) -> Option<PairedBy> {
    match stage_of_pair(moving, reference).zip(reference.view.pixel_size_um) {
        Some(((moving_um, reference_um), pixel_size_um)) => {
            // the camera may be turned by a quarter: the longer side counts in both directions
            let side_um = f64::from(reference.view.height.max(reference.view.width)) * pixel_size_um;
            let is_inside =
                |axis: usize| (moving_um[axis] - reference_um[axis]).abs() <= side_um / 2.0 + STAGE_MARGIN_UM;
            (is_inside(0) && is_inside(1)).then_some(PairedBy::Stage)
        }
        None => names_one_well(moving, reference).then_some(PairedBy::Well),
    }
}

/// Where the stage stood for both, where it tells. A position of exactly zero is what many writers put where they know
/// none: the well, where it is known, says more.
pub(super) fn stage_of_pair(moving: &Place, reference: &Place) -> Option<([f64; 2], [f64; 2])> {
    let is_placeholder =
        |place: &Place| names_one_well(moving, reference) && place.view.stage_um == Some([0.0, 0.0]);
    let stage = moving.view.stage_um.zip(reference.view.stage_um);
    stage.filter(|_| !is_placeholder(moving) && !is_placeholder(reference))
}

fn names_one_well(moving: &Place, reference: &Place) -> bool {
    moving.well.is_some() && moving.well == reference.well
}

impl PairedBy {
    /// The word in reports.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Stage => "stage",
            Self::Well => "well",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(pixel_size_um: f64, stage_um: Option<[f64; 2]>) -> View {
        let pixel_size_um = (pixel_size_um > 0.0).then_some(pixel_size_um);
        View { height: 1000, width: 1000, pixel_size_um, magnification: None, stage_um }
    }

    fn place(view: View) -> Place {
        Place { root_id: 1, plate: None, cycle: None, well: None, t: None, view }
    }

    /// How `a` pairs with `b`; the other way round it must be the mirror image.
    fn check(a: &Place, b: &Place, expected: Option<(Side, PairedBy)>) {
        let swapped = |side| if side == Side::Moving { Side::Reference } else { Side::Moving };
        assert_eq!(pairing(a, b).map(|found| (found.side, found.by)), expected, "{a:?} with {b:?}");
        assert_eq!(
            pairing(b, a).map(|found| (found.side, found.by)),
            expected.map(|(side, by)| (swapped(side), by)),
            "{b:?} with {a:?}"
        );
    }

    #[test]
    fn micrometres_decide_which_is_the_finer_and_magnifications_where_they_are_missing() {
        let well = |view| Place { well: Some(Name(1)), ..place(view) };
        let by_well = |side| Some((side, PairedBy::Well));
        check(&well(view(0.1625, None)), &well(view(0.65, None)), by_well(Side::Moving));
        check(&well(view(0.3, None)), &well(view(0.449, None)), None);
        // zoom makes a fine field of a weak objective
        let zoomed = View { magnification: Some(4.0), ..view(0.2, None) };
        let strong = View { magnification: Some(40.0), ..view(0.65, None) };
        check(&well(zoomed), &well(strong), by_well(Side::Moving));
        let nameless = View { pixel_size_um: None, ..strong };
        check(&well(zoomed), &well(nameless), by_well(Side::Reference));
        check(&well(view(0.0, None)), &well(view(0.65, None)), None);
        assert_eq!(scale_prior(&zoomed, &nameless), None);
        assert_eq!(scale_prior(&view(0.25, None), &view(1.0, None)), Some(0.25));
    }

    #[test]
    fn the_stage_decides_where_both_sides_know_it() {
        let reference = place(view(1.0, Some([5000.0, -200.0])));
        let moving = |x, y| place(view(0.25, Some([x, y])));
        let by_stage = Some((Side::Moving, PairedBy::Stage));
        check(&moving(5549.0, -200.0), &reference, by_stage);
        check(&moving(5551.0, -200.0), &reference, None);
        check(&moving(5000.0, 349.0), &reference, by_stage);
        let in_well = |place: Place, well| Place { well: Some(Name(well)), ..place };
        // far away in the same well, and near by in another one
        check(&in_well(moving(6000.0, 0.0), 1), &in_well(reference, 1), None);
        check(&in_well(moving(5000.0, -200.0), 1), &in_well(reference, 2), None);
        // unknown on a side, or what stands for unknown
        let unknown = place(view(0.25, None));
        check(&unknown, &reference, None);
        check(&in_well(unknown, 1), &in_well(reference, 1), Some((Side::Moving, PairedBy::Well)));
        let zero = moving(0.0, 0.0);
        check(&in_well(zero, 1), &in_well(reference, 1), Some((Side::Moving, PairedBy::Well)));
        check(&zero, &place(view(1.0, Some([0.0, 0.0]))), by_stage);
    }

    #[test]
    fn plates_cycles_and_times_that_differ_are_no_pair() {
        let moving = place(view(0.25, Some([0.0, 0.0])));
        let reference = place(view(1.0, Some([0.0, 0.0])));
        let by_stage = Some((Side::Moving, PairedBy::Stage));
        for (a, b, expected) in
            [(Some(1), Some(1), by_stage), (Some(1), Some(2), None), (None, Some(2), by_stage)]
        {
            let name = |name: Option<u32>| name.map(Name);
            check(&Place { plate: name(a), ..moving }, &Place { plate: name(b), ..reference }, expected);
            check(&Place { cycle: name(a), ..moving }, &Place { cycle: name(b), ..reference }, expected);
            let time = |time: Option<u32>| time.map(i64::from);
            check(&Place { t: time(a), ..moving }, &Place { t: time(b), ..reference }, expected);
        }
        let elsewhere = Place { root_id: 2, ..reference };
        check(&moving, &elsewhere, None);
        check(
            &Place { plate: Some(Name(1)), ..moving },
            &Place { plate: Some(Name(1)), ..elsewhere },
            by_stage,
        );
    }
}
