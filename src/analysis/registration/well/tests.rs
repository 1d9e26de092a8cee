use super::*;
use crate::analysis::synthesis::Random;

/// An acquisition of fields at 40x and their overviews, between which the plate was moved.
#[derive(Clone, Copy)]
struct Acquisition {
    /// Overviews along a side of the square.
    n_overviews: usize,
    /// Fields along a side of an overview.
    n_fields: usize,
    camera_deg: f64,
    camera_mirrored: bool,
    plate_deg: f64,
    plate_um: [f64; 2],
    /// Standard deviation of each stage position per axis.
    noise_um: f64,
}

const USUAL: Acquisition = Acquisition {
    n_overviews: 2,
    n_fields: 3,
    camera_deg: 90.6,
    camera_mirrored: true,
    plate_deg: 0.0,
    plate_um: [12.0, -7.0],
    noise_um: 1.5,
};
const OVERVIEW_UM: f64 = 1200.0;
/// The stage at the middle of the well.
const WELL_UM: [f64; 2] = [-31_000.0, 52_000.0];

impl Acquisition {
    /// Where the stage stands for a place of the well once the plate has been moved.
    fn moved(&self, place: [f64; 2]) -> [f64; 2] {
        let turn = Affine::similarity(1.0, self.plate_deg.to_radians(), false, [0.0; 2]);
        let [x, y] = turn.apply([0, 1].map(|axis| place[axis] - WELL_UM[axis]));
        [x + WELL_UM[0] + self.plate_um[0], y + WELL_UM[1] + self.plate_um[1]]
    }

    fn landing(&self, field: [f64; 2], overview: [f64; 2], random: &mut Random) -> Landing {
        let camera = Affine::similarity(1.0, self.camera_deg.to_radians(), self.camera_mirrored, [0.0; 2]);
        let noise_um = self.noise_um;
        let mut stands = |place: [f64; 2]| place.map(|value| value + noise_um * random.normal());
        let (moving_stage_um, reference_stage_um) = (stands(self.moved(field)), stands(overview));
        Landing {
            moving_stage_um,
            reference_stage_um,
            found_um: camera.apply([0, 1].map(|axis| field[axis] - overview[axis])),
            // about half a turn, to either side
            orientation: Orientation {
                rotation_rad: wrapped(std::f64::consts::PI + 0.003 * random.normal()),
                mirrored: true,
            },
            scale_ratio: 1.004,
        }
    }

    fn landings(&self, random: &mut Random) -> Vec<Landing> {
        let at = |n: usize, of: usize| (n as f64 + 0.5) / of as f64 - 0.5;
        let mut landings = vec![];
        for (column, row) in grid(self.n_overviews) {
            let middle =
                [column, row].map(|n| at(n, self.n_overviews) * OVERVIEW_UM * self.n_overviews as f64);
            let overview = [WELL_UM[0] + middle[0], WELL_UM[1] + middle[1]];
            for (x, y) in grid(self.n_fields) {
                let field = [
                    overview[0] + at(x, self.n_fields) * OVERVIEW_UM,
                    overview[1] + at(y, self.n_fields) * OVERVIEW_UM,
                ];
                landings.push(self.landing(field, overview, random));
            }
        }
        landings
    }
}

fn grid(n: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n * n).map(move |i| (i % n, i / n))
}

/// Fits, and predicts fields that were not fitted to.
fn check(acquisition: Acquisition) {
    for seed in 1..=5 {
        let mut random = Random::new(seed);
        let landings = acquisition.landings(&mut random);
        let fit = WellFit::new(&landings).unwrap_or_else(|| panic!("no fit, seed {seed}"));
        let found = &fit.transform;
        assert_eq!(found.n_fields, landings.len());
        // of very many one may lie that far off by chance
        assert!(50 * found.n_outliers <= landings.len(), "{found:?}");
        assert!(found.rms_um < 3.0 * acquisition.noise_um.max(0.01), "{found:?}");
        let fields = Acquisition { n_fields: 4, noise_um: 0.0, ..acquisition }.landings(&mut random);
        for field in &fields {
            let deviation = found.deviation_um(field);
            let radius = fit.radius_um(field.moving_stage_um, field.reference_stage_um).unwrap();
            assert!(
                deviation <= radius && radius < 25.0,
                "{deviation} um of {radius} um, seed {seed}: {found:?}"
            );
            assert!(!found.is_outlier(field));
        }
        let error = [0, 1].map(|axis| found.offset_um[axis] - acquisition.plate_um[axis]);
        assert!(error[0].hypot(error[1]) < 4.0, "{found:?}");
        if let Some(plate_deg) = found.plate_rotation_deg {
            assert!((plate_deg - acquisition.plate_deg).abs() < 0.4, "{found:?}");
        }
        assert!((found.image_rotation_deg.abs() - 180.0).abs() < 0.3 && found.image_mirrored);
    }
}

#[test]
fn fields_are_predicted_however_the_camera_stands() {
    for camera_deg in [0.0, 90.6, 181.0, -45.0] {
        for camera_mirrored in [false, true] {
            check(Acquisition { camera_deg, camera_mirrored, ..USUAL });
            check(Acquisition { camera_deg, camera_mirrored, n_overviews: 1, ..USUAL });
        }
    }
}

#[test]
fn a_plate_that_was_put_back_is_understood() {
    let put_back = Acquisition { plate_deg: 1.0, plate_um: [300.0, -120.0], ..USUAL };
    check(put_back);
    // one overview does not tell the turn of the plate from that of the camera
    check(Acquisition { n_overviews: 1, ..put_back });
    check(Acquisition { n_overviews: 4, n_fields: 2, plate_deg: -1.5, ..put_back });
    let landings = put_back.landings(&mut Random::new(1));
    assert!((WellFit::new(&landings).unwrap().transform.plate_rotation_deg.unwrap() - 1.0).abs() < 0.2);
    let one = Acquisition { n_overviews: 1, ..put_back }.landings(&mut Random::new(1));
    assert_eq!(WellFit::new(&one).unwrap().transform.plate_rotation_deg, None);
}

#[test]
fn outliers_neither_spoil_the_fit_nor_go_unseen() {
    let mut random = Random::new(4);
    let mut landings = USUAL.landings(&mut random);
    let clean = WellFit::new(&landings).unwrap().transform;
    let n = landings.len();
    for landing in landings.iter_mut().step_by(3) {
        landing.found_um = landing.found_um.map(|value| value + 60.0 * (random.uniform() - 0.5).signum());
    }
    landings[1].orientation.rotation_rad = 0.3;
    let found = WellFit::new(&landings).unwrap().transform;
    assert_eq!(found.n_outliers, n / 3 + 1);
    let flagged: Vec<_> = (0..n).filter(|&index| found.is_outlier(&landings[index])).collect();
    assert_eq!(flagged, (0..n).filter(|index| index % 3 == 0 || *index == 1).collect::<Vec<_>>());
    let error = [0, 1].map(|axis| found.offset_um[axis] - clean.offset_um[axis]);
    assert!(error[0].hypot(error[1]) < 2.0, "{found:?}");
}

#[test]
fn the_order_leaves_no_trace() {
    let mut landings = USUAL.landings(&mut Random::new(7));
    landings[5].found_um[0] += 90.0;
    let first = WellFit::new(&landings);
    assert!(first.is_some());
    landings.reverse();
    assert_eq!(WellFit::new(&landings), first);
    landings.rotate_left(11);
    assert_eq!(WellFit::new(&landings), first);
}

#[test]
fn what_does_not_tell_is_no_transform() {
    let landings = USUAL.landings(&mut Random::new(3));
    assert_eq!(WellFit::new(&[]), None);
    assert_eq!(WellFit::new(&landings[..2]), None);
    assert_eq!(WellFit::new(&[landings[0]; 9]), None);
    // along a line the stage may be seen from either side
    let mut random = Random::new(3);
    let line = Acquisition { n_overviews: 1, ..USUAL };
    let along = |n: usize| line.landing([WELL_UM[0] + 150.0 * n as f64, WELL_UM[1]], WELL_UM, &mut random);
    assert_eq!(WellFit::new(&(0..8).map(along).collect::<Vec<_>>()), None);
    // each somewhere else
    let mut random = Random::new(5);
    let mut strewn = landings;
    for landing in &mut strewn {
        landing.found_um = [0; 2].map(|_| OVERVIEW_UM * (random.uniform() - 0.5));
    }
    assert_eq!(WellFit::new(&strewn), None);
}

#[test]
fn three_fields_suffice_and_tell_how_little_they_know() {
    let landings = Acquisition { n_overviews: 1, ..USUAL }.landings(&mut Random::new(2));
    let fit = WellFit::new(&[landings[0], landings[2], landings[6]]).unwrap();
    let radius = |at: [f64; 2]| fit.radius_um([WELL_UM[0] + at[0], WELL_UM[1] + at[1]], WELL_UM);
    assert!(radius([0.0, 0.0]).unwrap() < radius([500.0, 500.0]).unwrap());
    assert_eq!(radius([20_000.0, 0.0]), None, "far away nobody knows");
}

#[test]
fn a_transform_of_pixels_is_a_landing() {
    // a quarter turn, a fourth of the size, the centre 100 px right of and 30 px above the overview's
    let linear = Affine::similarity(0.25, std::f64::consts::FRAC_PI_2, false, [0.0; 2]);
    let [x, y] = linear.apply([10.0, 20.0]);
    let transform = Affine::from_parts(linear.linear(), [150.0 - x, 20.0 - y]);
    let landing =
        Landing::new(&transform, ([10.0, 20.0], [50.0, 50.0]), (0.16, 0.65), ([1.0, 2.0], [3.0, 4.0]));
    let close = |left: f64, right: f64| assert!((left - right).abs() < 1e-9, "{left} is not {right}");
    close(landing.found_um[0], 65.0);
    close(landing.found_um[1], -19.5);
    close(landing.orientation.rotation_rad, std::f64::consts::FRAC_PI_2);
    close(landing.scale_ratio, 0.25 * 0.65 / 0.16);
    assert_eq!((landing.moving_stage_um, landing.reference_stage_um), ([1.0, 2.0], [3.0, 4.0]));
}
