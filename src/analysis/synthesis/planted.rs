//! What is planted beside the plain fields: copies, repeats, empty wells and faults, each in a well of its own in
//! row A, so that every relation is between two planes and nothing else.

use super::acquisition::{Acquisition, Place, Series};
use super::optics::Objective;
use super::plan::{Change, Container, Damage, PlannedPlane};
use super::settings::{FormatChoice, NameChoice};
use super::truth::{Relation, TrueRelation};

/// Folder of what an instrument would write, and of what people make of it.
const ACQUIRED: &str = "plate1/10x";
const EXPORTED: &str = "exports";
const TIMELAPSE: &str = "plate1/20260105_140000_001";
const LAST_RUN: &str = "plate1/20260105_160000_002";

/// Plants one of everything.
pub(super) fn plant(plan: &mut Acquisition) {
    copied_file(plan);
    saved_again(plan);
    exported_to_another_container(plan);
    for (column, change, how) in [
        (3, Change::EightBits, "exported to 8 bits with a gamma of one half"),
        (4, Change::Dimmer, "half the contrast upon another offset"),
        (5, Change::Rotated, "rotated by a quarter turn"),
        (6, Change::Mirrored, "mirrored"),
    ] {
        mapped(plan, column, change, how);
    }
    stuck_camera(plan);
    exposed_again(plan);
    focus_series(plan);
    let empty = plan.place((0, 10), 1, false);
    let planes = plan.shoot(&empty, overview(plan.settings.n_channels));
    plan.store(&empty, ACQUIRED, container(plan, Container::Tiff), planes);
    damaged(plan);
    growing(plan);
}

fn overview(n_channels: u32) -> Series {
    Series { objective: Objective::OVERVIEW, n_times: 1, n_z: 1, n_channels }
}

/// The container that is meant, unless another kind was asked for.
fn container(plan: &Acquisition, meant: Container) -> Container {
    match plan.settings.format {
        FormatChoice::Mixed => meant,
        FormatChoice::Tiff => Container::Tiff,
        FormatChoice::OmeTiff => Container::OmeTiff,
        FormatChoice::Nd2 => Container::Nd2,
    }
}

/// A field of nuclei alone, and the file it is stored in.
fn original(plan: &mut Acquisition, column: u32) -> (Place, Vec<PlannedPlane>, usize) {
    let place = plan.place((0, column), 1, true);
    let planes = plan.shoot(&place, overview(1));
    let file = plan.store(&place, ACQUIRED, container(plan, Container::Tiff), planes.clone()).start;
    (place, planes, file)
}

fn extension(container: Container) -> &'static str {
    match container {
        Container::Nd2 | Container::Nd2Packed => "nd2",
        Container::Tiff | Container::TiffPacked => "tif",
        Container::OmeTiff | Container::OmeTiffPacked => "ome.tif",
    }
}

/// Notes that each plane of one file is related to the same one of another.
fn relate(plan: &mut Acquisition, (a, b): (usize, usize), relation: Relation, how: &str) {
    let planes = plan.files[a].planes.iter().zip(&plan.files[b].planes);
    let (file_a, file_b) = (&plan.files[a].path, &plan.files[b].path);
    let related: Vec<_> = planes
        .map(|(plane_a, plane_b)| TrueRelation {
            file_a: file_a.clone(),
            plane_a: plane_a.index,
            file_b: file_b.clone(),
            plane_b: plane_b.index,
            relation,
            how: how.to_owned(),
        })
        .collect();
    plan.relations.extend(related);
}

fn copied_file(plan: &mut Acquisition) {
    let (place, planes, a) = original(plan, 0);
    let container = plan.files[a].container;
    let path = format!("{EXPORTED}/{} field 1 - copy.{}", place.well, extension(container));
    let b = plan.add(path, container, planes, &place.well);
    plan.files[b].acquired_at = plan.files[a].acquired_at.clone();
    relate(plan, (a, b), Relation::IdenticalFile, "copied");
}

fn saved_again(plan: &mut Acquisition) {
    let (place, planes, a) = original(plan, 1);
    let container = plan.files[a].container.packed();
    let path = format!("{EXPORTED}/{} field 1 saved again.{}", place.well, extension(container));
    let b = plan.add(path, container, planes, &place.well);
    relate(plan, (a, b), Relation::IdenticalPixels, "saved again with another compression");
}

fn exported_to_another_container(plan: &mut Acquisition) {
    let place = plan.place((0, 2), 1, true);
    let planes = plan.shoot(&place, overview(plan.settings.n_channels));
    let (from, to) = match plan.settings.format {
        FormatChoice::Mixed => (Container::Nd2, Container::OmeTiff),
        FormatChoice::Tiff => return,
        FormatChoice::OmeTiff => (Container::OmeTiff, Container::OmeTiffPacked),
        FormatChoice::Nd2 => (Container::Nd2, Container::Nd2Packed),
    };
    let a = plan.store(&place, ACQUIRED, from, planes.clone()).start;
    let path = format!("{EXPORTED}/{} field 1 exported.{}", place.well, extension(to));
    let b = plan.add(path, to, planes, &place.well);
    relate(plan, (a, b), Relation::IdenticalPixels, "exported to another container");
}

fn mapped(plan: &mut Acquisition, column: u32, change: Change, how: &str) {
    let (place, mut planes, a) = original(plan, column);
    planes.iter_mut().for_each(|plane| plane.shot.change = change);
    let container = plan.files[a].container;
    let path = format!("{EXPORTED}/{} field 1 {how}.{}", place.well, extension(container));
    let b = plan.add(path, container, planes, &place.well);
    relate(plan, (a, b), Relation::SameExposureMapped, how);
}

/// A series in which the camera hands out one frame twice.
fn stuck_camera(plan: &mut Acquisition) {
    const STUCK: usize = 3;
    let place = plan.place((0, 7), 1, true);
    let mut planes = plan.shoot(&place, Series { n_times: plan.settings.n_times.max(6), ..overview(1) });
    planes[STUCK].shot = planes[STUCK - 1].shot.clone();
    let (before, stuck) = (planes[STUCK - 1].index, planes[STUCK].index);
    let files = plan.store(&place, TIMELAPSE, container(plan, Container::Nd2), planes);
    let is_one_file = files.len() == 1;
    let (a, b) =
        if is_one_file { (files.start, files.start) } else { (files.start + STUCK - 1, files.start + STUCK) };
    let index = |index| if is_one_file { index } else { Default::default() };
    plan.relations.push(TrueRelation {
        file_a: plan.files[a].path.clone(),
        plane_a: index(before),
        file_b: plan.files[b].path.clone(),
        plane_b: index(stuck),
        relation: Relation::StuckFrame,
        how: "the camera handed out one frame twice".to_owned(),
    });
}

fn exposed_again(plan: &mut Acquisition) {
    let (place, planes, a) = original(plan, 8);
    let again = plan.shoot_again(&planes);
    let container = plan.files[a].container;
    let b = plan.store(&place, "plate1 again/10x", container, again).start;
    relate(plan, (a, b), Relation::Reacquired, "exposed again");
}

/// A focus series: its planes are expected to look alike.
fn focus_series(plan: &mut Acquisition) {
    let place = plan.place((0, 9), 1, true);
    let planes = plan.shoot(&place, Series { n_z: plan.settings.n_z.max(3), ..overview(1) });
    plan.store(&place, ACQUIRED, container(plan, Container::OmeTiff), planes);
}

fn damaged(plan: &mut Acquisition) {
    let place = plan.place((0, 11), 1, true);
    let kind = container(plan, Container::Tiff);
    let planes = plan.shoot(&place, overview(1));
    let spoiled = plan.store(&place, ACQUIRED, kind.packed(), planes.clone()).start;
    plan.files[spoiled].damage = Damage::Pixels;
    let name = format!("{EXPORTED}/{} field 1 no image.{}", place.well, extension(kind));
    let none = plan.add(name, kind, planes, &place.well);
    plan.files[none].damage = Damage::NoImage;
}

/// A finished file of a run and the next one, which a demonstration lets grow.
fn growing(plan: &mut Acquisition) {
    if !matches!(plan.settings.format, FormatChoice::Mixed | FormatChoice::Nd2) {
        return;
    }
    let n_channels = plan.settings.n_channels.min(2);
    // the names of one run differ in the well and a running number or, where there is none, in the field
    let (column, field) = if plan.settings.names == NameChoice::Generic { (12, 2) } else { (13, 1) };
    let [sibling, growing] =
        [(12, 1, 2), (column, field, plan.settings.n_times.max(6))].map(|(column, field, n_times)| {
            let place = plan.place((0, column), field, true);
            let planes = plan.shoot(&place, Series { n_times, ..overview(n_channels) });
            plan.store(&place, LAST_RUN, Container::Nd2, planes).start
        });
    plan.growing = Some((growing, sibling));
}
