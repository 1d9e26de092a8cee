//! Plans an acquisition: wells on a plate, fields at 10x and 40x, and what is planted among them.

use std::sync::Arc;

use super::names::{Naming, well_name};
use super::optics::{Objective, View};
use super::plan::{Change, Container, Damage, PERIOD_MS, PlannedFile, PlannedPlane, Shot, Z_STEP_UM};
use super::planted;
use super::random::Random;
use super::scene::Scene;
use super::settings::{AcquisitionSettings, FormatChoice, OutOfRange};
use super::truth::{TrueRegistration, TrueRelation};
use crate::units::PlaneIndex;

/// Distance of two wells of a 384-well plate in micrometres.
const WELL_PITCH_UM: f64 = 4500.0;
/// Distance of two fields as a part of a 10x frame: neighbours share nothing.
const FIELD_PITCH: f64 = 1.5;
/// Side of a scene as a part of a 10x frame.
const SCENE_SIDE: f64 = 1.2;

/// What each random number is for.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    Scene = 1,
    Stage,
    Noise,
    Camera,
}

/// A planned acquisition: everything is decided, nothing drawn yet.
#[derive(Debug, Clone)]
pub struct Acquisition {
    pub(super) settings: AcquisitionSettings,
    pub(super) files: Vec<PlannedFile>,
    pub(super) relations: Vec<TrueRelation>,
    pub(super) registrations: Vec<TrueRegistration>,
    /// Places in `files` of the growing one and of its sibling.
    pub(super) growing: Option<(usize, usize)>,
    n_exposures: u64,
}

/// A place on the plate with its cells.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) well: String,
    /// From 1.
    pub(super) field: u32,
    centre_um: [f64; 2],
    scene: Arc<Scene>,
}

/// What a file shows of a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Series {
    pub(super) objective: Objective,
    pub(super) n_times: u32,
    pub(super) n_z: u32,
    pub(super) n_channels: u32,
}

impl Acquisition {
    /// Plans an acquisition.
    ///
    /// # Errors
    /// When a setting is outside its range.
    pub fn plan(settings: AcquisitionSettings) -> Result<Self, OutOfRange> {
        settings.check()?;
        let mut plan = Self {
            settings,
            files: Vec::new(),
            relations: Vec::new(),
            registrations: Vec::new(),
            growing: None,
            n_exposures: 0,
        };
        for well in 0..plan.settings.n_wells {
            plan.well(well);
        }
        if !plan.settings.is_plain {
            planted::plant(&mut plan);
        }
        Ok(plan)
    }

    /// How many files it has.
    pub fn n_files(&self) -> usize {
        self.files.len()
    }

    /// The path of a file below the acquisition's folder, with `/`.
    pub fn path(&self, file: usize) -> &str {
        &self.files[file].path
    }

    /// Planes of a file.
    pub fn n_planes(&self, file: usize) -> usize {
        self.files[file].planes.len()
    }

    /// Bytes of all samples: about what the files take uncompressed.
    pub fn n_bytes(&self) -> u64 {
        let frame = self.settings.side_px as u64 * self.settings.side_px as u64 * 2;
        self.files.iter().map(|file| file.planes.len() as u64 * frame).sum()
    }

    pub(super) fn camera_seed(&self) -> u64 {
        self.seed(Purpose::Camera, &[])
    }

    fn seed(&self, purpose: Purpose, parts: &[u64]) -> u64 {
        let parts: Vec<_> =
            [self.settings.seed, purpose as u64].into_iter().chain(parts.iter().copied()).collect();
        Random::of(&parts).bits()
    }

    /// The fields of one well, at both magnifications.
    fn well(&mut self, number: u32) {
        let settings = self.settings.clone();
        let (row, column) = (1 + number / 22, 1 + number % 22);
        let container = match settings.format {
            FormatChoice::Mixed => [Container::Nd2, Container::Tiff, Container::OmeTiff][number as usize % 3],
            FormatChoice::Tiff => Container::Tiff,
            FormatChoice::OmeTiff => Container::OmeTiff,
            FormatChoice::Nd2 => Container::Nd2,
        };
        let (n_times, n_z, n_channels) = (settings.n_times, settings.n_z, settings.n_channels);
        for field in 1..=settings.n_fields {
            let place = self.place((row, column), field, true);
            let series = |objective| Series { objective, n_times, n_z, n_channels };
            let reference = self.shoot(&place, series(Objective::OVERVIEW));
            let moving = self.shoot(&place, series(Objective::detail(settings.is_detail_mirrored)));
            let references = self.store(&place, "plate1/10x", container, reference);
            let movings = self.store(&place, "plate1/40x", container, moving);
            let registration = self.registration(references.start, movings.start);
            self.registrations.push(registration);
        }
    }

    /// A place on the plate, with cells or without.
    pub(super) fn place(&self, (row, column): (u32, u32), field: u32, has_cells: bool) -> Place {
        let frame_um = self.settings.side_px as f64 * Objective::OVERVIEW.pixel_size_um();
        // fields in rows of ten
        let (across, down) = ((field - 1) % 10, (field - 1) / 10);
        let step = |n: u32| FIELD_PITCH * frame_um * f64::from(n);
        let centre_um = [
            WELL_PITCH_UM.max(11.0 * FIELD_PITCH * frame_um) * f64::from(column) + step(across),
            WELL_PITCH_UM.max(11.0 * FIELD_PITCH * frame_um) * f64::from(row) + step(down),
        ];
        let seed = self.seed(Purpose::Scene, &[row.into(), column.into(), field.into()]);
        let grow = || Scene::grow(centre_um, SCENE_SIDE * frame_um, seed);
        let scene = if has_cells { grow() } else { Scene::default() };
        Place { well: well_name(row, column), field, centre_um, scene: Arc::new(scene) }
    }

    /// Exposes every plane of a series: time points, within them focus steps, within them channels.
    pub(super) fn shoot(&mut self, place: &Place, series: Series) -> Vec<PlannedPlane> {
        let Series { objective, n_times, n_z, n_channels } = series;
        let (row, column) = (place.centre_um[0].to_bits(), place.centre_um[1].to_bits());
        let mut stage =
            Random::new(self.seed(Purpose::Stage, &[row, column, objective.magnification as u64]));
        let frame_um = self.settings.side_px as f64 * objective.pixel_size_um();
        // an overview stands where it was sent; a 40x field lies anywhere in its middle
        let inner = if objective.magnification > 10.0 { 0.8 * frame_um } else { 2.0 };
        let centre_um = place.centre_um.map(|part| part + stage.between(-inner, inner));
        let indices = (0..n_times).flat_map(|t| {
            (0..n_z).flat_map(move |z| (0..n_channels).map(move |c| PlaneIndex { t, p: 0, z, c }))
        });
        let planes = indices.map(|index| {
            let z_um = Z_STEP_UM * (f64::from(index.z) - f64::from(n_z - 1) / 2.0);
            let view = View {
                objective,
                centre_um,
                side_px: self.settings.side_px,
                channel: index.c as usize,
                t: index.t,
                z_um,
            };
            self.n_exposures += 1;
            let noise_seed = self.seed(Purpose::Noise, &[self.n_exposures]);
            let shot = Shot { scene: place.scene.clone(), view, noise_seed, change: Change::None };
            PlannedPlane { index, shot, time_ms: PERIOD_MS * f64::from(index.t), z_um }
        });
        planes.collect()
    }

    /// Exposes the same planes once more.
    pub(super) fn shoot_again(&mut self, planes: &[PlannedPlane]) -> Vec<PlannedPlane> {
        let again = planes.iter().map(|plane| {
            self.n_exposures += 1;
            let mut plane = plane.clone();
            plane.shot.noise_seed = self.seed(Purpose::Noise, &[self.n_exposures]);
            plane
        });
        again.collect()
    }

    /// Plans the file of some planes, or the files: a plain TIFF holds one plane. Returns their places in the plan.
    pub(super) fn store(
        &mut self,
        place: &Place,
        folder: &str,
        container: Container,
        planes: Vec<PlannedPlane>,
    ) -> std::ops::Range<usize> {
        let first = self.files.len();
        let n_channels = planes.iter().map(|plane| plane.index.c + 1).max().unwrap_or(1);
        let of_series = planes.iter().any(|plane| plane.index.t > 0 || plane.index.z > 0);
        let parts: Vec<Vec<PlannedPlane>> = if container.is_plain_tiff() {
            planes.into_iter().map(|plane| vec![plane]).collect()
        } else {
            vec![planes]
        };
        for mut planes in parts {
            let PlaneIndex { t, z, c, .. } = planes[0].index;
            let (mut folder, mut channels) = (folder.to_owned(), (0, n_channels));
            if container.is_plain_tiff() {
                channels = (c, 1);
                planes[0].index = PlaneIndex::default();
                if of_series {
                    folder += &format!("/TimePoint_{}/ZStep_{}", t + 1, z + 1);
                }
            }
            let sequence = self.files.len() as u32;
            let (names, well) = (self.settings.names, place.well.as_str());
            let naming =
                Naming { names, container, folder: &folder, well, field: place.field, sequence, channels };
            self.add(naming.path(), container, planes, well);
        }
        first..self.files.len()
    }

    /// Plans one file; returns its place in the plan.
    pub(super) fn add(
        &mut self,
        path: String,
        container: Container,
        planes: Vec<PlannedPlane>,
        well: &str,
    ) -> usize {
        let number = self.files.len();
        let acquired_at = acquired_at(number);
        let well = well.to_owned();
        self.files.push(PlannedFile { path, well, container, planes, acquired_at, damage: Damage::None });
        number
    }

    /// How the first nuclear plane of a 40x file lies in that of a 10x file: first time point, middle focus step.
    fn registration(&self, reference: usize, moving: usize) -> TrueRegistration {
        let plane = |file: usize| {
            let planes = &self.files[file].planes;
            let mut steps = planes.iter().filter(|plane| plane.index.t == 0 && plane.index.c == 0);
            let n_z = steps.clone().count();
            steps.nth(n_z / 2).expect("every field has a nuclear plane")
        };
        let (in_reference, in_moving) = (plane(reference), plane(moving));
        let (reference_view, moving_view) = (in_reference.shot.view, in_moving.shot.view);
        let reference_from_plate =
            reference_view.plate_um_from_px().inverse().expect("an objective magnifies");
        let reference_from_moving = reference_from_plate.after(&moving_view.plate_um_from_px());
        let range = -0.5..self.settings.side_px as f64 - 0.5;
        let nuclei = moving_view.nuclei_px(&in_moving.shot.scene);
        let is_in_reference =
            |place: &&[f64; 2]| reference_from_moving.apply(**place).iter().all(|part| range.contains(part));
        let n_nuclei_in_both = nuclei.iter().filter(is_in_reference).count();
        TrueRegistration {
            moving_file: self.files[moving].path.clone(),
            moving_plane: in_moving.index,
            reference_file: self.files[reference].path.clone(),
            reference_plane: in_reference.index,
            reference_from_moving,
            mirrored: reference_from_moving.determinant() < 0.0,
            n_nuclei_in_both,
            is_expected: n_nuclei_in_both >= TrueRegistration::N_NUCLEI_MIN,
        }
    }
}

/// Half a minute from file to file, from ten o'clock on; after 20 days the first one comes again.
fn acquired_at(number: usize) -> String {
    let seconds = 10 * 3600 + 30 * number;
    let (day, second) = (seconds / 86_400 % 20, seconds % 86_400);
    format!("2026-01-{:02}T{:02}:{:02}:{:02}", 5 + day, second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::acquired_at;

    #[test]
    fn midnight_begins_another_day() {
        assert_eq!(acquired_at(0), "2026-01-05T10:00:00");
        assert_eq!(acquired_at(1), "2026-01-05T10:00:30");
        // 14 hours later
        assert_eq!(acquired_at(14 * 120 - 1), "2026-01-05T23:59:30");
        assert_eq!(acquired_at(14 * 120), "2026-01-06T00:00:00");
    }
}
