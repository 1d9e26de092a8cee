//! Fine fields meet their overview: right, exactly once, in whatever order they come.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use scopewatch::analysis::synthesis::{FieldSettings, Nucleus, Random, expose, place_nuclei};
use scopewatch::formats::nd2::{Nd2Loop, Nd2Spec, Nd2Writer};
use scopewatch::formats::tiff::{WriteOptions, encode};
use scopewatch::formats::{Plane, Position};
use scopewatch::geometry::Affine;
use scopewatch::units::SampleType;
use serde_json::Value;

use crate::support::{Sandbox, output, scopewatch};

/// Micrometres per pixel of the fine camera, in which scenes are drawn, and of the overview.
const FINE_UM: f64 = 0.1625;
const COARSE_UM: f64 = 4.0 * FINE_UM;
/// Sides of the images in pixels; the overview shows the whole scene.
const FINE_PX: usize = 512;
const COARSE_PX: usize = 256;
const SCENE_PX: usize = 4 * COARSE_PX;
/// Where the stage stands over the middle of the scene.
const STAGE_UM: [f64; 2] = [5000.0, -3000.0];

/// Nuclei of 8 um, as dense as in a culture.
fn scene(seed: u64) -> Vec<Nucleus> {
    let settings = FieldSettings {
        height: SCENE_PX,
        width: SCENE_PX,
        n_nuclei: 150,
        diameter_px: 8.0 / FINE_UM,
        ..FieldSettings::default()
    };
    place_nuclei(&settings, &mut Random::new(seed))
}

/// One camera over a scene.
#[derive(Clone, Copy)]
struct View {
    image_from_scene: Affine,
    side_px: usize,
    /// The place of the scene in the middle of the image.
    middle: [f64; 2],
}

fn overview() -> View {
    let middle = [(SCENE_PX as f64 - 1.0) / 2.0; 2];
    // pixel (0, 0) covers four by four of the fine ones
    View { image_from_scene: Affine::similarity(0.25, 0.0, false, [-0.375; 2]), side_px: COARSE_PX, middle }
}

fn fine(middle: [f64; 2], rotation_deg: f64, mirrored: bool) -> View {
    let turned = Affine::similarity(1.0, rotation_deg.to_radians(), mirrored, [0.0; 2]);
    let centre = (FINE_PX as f64 - 1.0) / 2.0;
    let shift = turned.apply(middle).map(|value| centre - value);
    View { image_from_scene: Affine::from_parts(turned.linear(), shift), side_px: FINE_PX, middle }
}

impl View {
    fn expose(&self, scene: &[Nucleus], noise_seed: u64) -> Plane {
        let scale = self.image_from_scene.decompose().scale;
        let [[a, b], [c, d]] = self.image_from_scene.linear();
        let seen = |nucleus: &Nucleus| {
            let [x, y] = self.image_from_scene.apply([nucleus.x, nucleus.y]);
            let (sin, cos) = nucleus.angle.sin_cos();
            let angle = (c * cos + d * sin).atan2(a * cos + b * sin);
            Nucleus { x, y, radii: nucleus.radii.map(|radius| radius * scale), angle, ..*nucleus }
        };
        let (height, width) = (self.side_px, self.side_px);
        let settings = FieldSettings { height, width, vignetting: 0.1, ..FieldSettings::default() };
        expose(&settings, &scene.iter().map(seen).collect::<Vec<_>>(), noise_seed)
    }

    fn pixel_size_um(&self) -> f64 {
        if self.side_px == COARSE_PX { COARSE_UM } else { FINE_UM }
    }

    /// An ND2 with its stage position, of `n_z` focus steps.
    fn nd2(&self, scene: &[Nucleus], noise_seed: u64, n_z: u32) -> Vec<u8> {
        let stage = |axis: usize| {
            let middle = overview().middle[axis];
            Some(STAGE_UM[axis] + (self.middle[axis] - middle) * FINE_UM)
        };
        let side = self.side_px as u32;
        let spec = Nd2Spec {
            pixel_size_um: Some(self.pixel_size_um()),
            stage: Position { x_um: stage(0), y_um: stage(1), ..Position::default() },
            loops: Vec::from_iter((n_z > 1).then_some(Nd2Loop::ZStack { n: n_z, step_um: 1.0 })),
            ..Nd2Spec::new(side, side, SampleType::Uint16)
        };
        let mut writer = Nd2Writer::new(Vec::new(), spec).unwrap();
        for z in 0..u64::from(n_z) {
            writer.write_frame(&[self.expose(scene, noise_seed + z)]).unwrap();
        }
        writer.finish().unwrap()
    }

    fn tiff(&self, scene: &[Nucleus], noise_seed: u64, pixel_size_um: Option<f64>) -> Vec<u8> {
        let plane = self.expose(scene, noise_seed);
        encode(&[plane], &WriteOptions { pixel_size_um, ..WriteOptions::default() }).unwrap()
    }

    /// How far a transform to the overview is off at most, in pixels of the overview, over this image.
    fn error_px(&self, line: &Value) -> f64 {
        let found: Affine = serde_json::from_value(line["reference_from_moving"].clone()).unwrap();
        let truth = overview().image_from_scene.after(&self.image_from_scene.inverse().unwrap());
        let last = self.side_px as f64 - 1.0;
        let error = |corner: [f64; 2]| {
            let ([x, y], [true_x, true_y]) = (found.apply(corner), truth.apply(corner));
            (x - true_x).hypot(y - true_y)
        };
        [[0.0, 0.0], [last, 0.0], [0.0, last], [last, last]].into_iter().map(error).fold(0.0, f64::max)
    }
}

/// The lines about the pair of these two files.
fn lines_of(lines: &[Value], moving: &str, reference: &str) -> Vec<Value> {
    let is_pair = |line: &&Value| line["moving"]["file"] == moving && line["reference"]["file"] == reference;
    lines.iter().filter(is_pair).cloned().collect()
}

fn events(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["event"].as_str().unwrap()).collect()
}

#[test]
fn fine_fields_are_found_where_the_stage_stood_and_strangers_are_refused() {
    let sandbox = Sandbox::new();
    let scene_one = scene(1);
    let (turned, mirrored) = (fine([400.0, 420.0], 3.0, false), fine([560.0, 600.0], 177.0, true));
    sandbox.drop_file("overview.nd2", &overview().nd2(&scene_one, 1, 1));
    sandbox.drop_file("turned.nd2", &turned.nd2(&scene_one, 2, 3));
    sandbox.drop_file("mirrored.nd2", &mirrored.nd2(&scene_one, 5, 1));
    sandbox.drop_file("stranger.nd2", &turned.nd2(&scene(2), 6, 1));
    // over a place far outside: never tried
    let far = View { middle: [4000.0, 420.0], ..turned };
    sandbox.drop_file("far.nd2", &far.nd2(&scene_one, 7, 1));
    let (summary, code) = sandbox.scan(&[]);
    assert_eq!(code, 0);
    assert_eq!((&summary["registrations"], &summary["registrations_refused"]), (&2.into(), &1.into()));

    let lines = sandbox.lines("registrations");
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (file, view, is_mirrored) in [("turned.nd2", turned, false), ("mirrored.nd2", mirrored, true)] {
        let line = &lines_of(&lines, file, "overview.nd2")[0];
        assert_eq!((&line["event"], &line["accepted"]), (&"registered".into(), &true.into()));
        assert_eq!(line["mirrored"], is_mirrored);
        assert!(view.error_px(line) < 1.0, "{file}: {} px, {line}", view.error_px(line));
        assert!((line["scale"].as_f64().unwrap() - 0.25).abs() < 0.005);
        assert!(line["log10_chance"].as_f64().unwrap() < -13.0);
        assert_eq!(line["paired_by"], "stage");
        assert!(line["stage_deviation_um"].as_f64().unwrap() < COARSE_UM, "{line}");
        assert_eq!(
            (&line["optimizer"]["name"], &line["optimizer"]["agree"]),
            (&"lm".into(), &true.into()),
            "{line}"
        );
        for optimizer in ["closed_form", "lbfgsb", "lm"] {
            let report = &line["optimizers"][optimizer];
            let rmsd_px = report["rmsd_px"].as_f64().unwrap();
            assert!((rmsd_px - line["rmsd_px"].as_f64().unwrap()).abs() < 1e-6, "{optimizer}: {line}");
            assert!(report["time_us"].is_number() && report["parameters"].as_array().unwrap().len() == 4);
        }
        // the same map for rows and columns
        let (map, row_col) = (&line["reference_from_moving"], &line["affine_row_col"]);
        assert_eq!((&row_col[0][2], &row_col[1][0]), (&map[1][2], &map[0][1]));
    }
    let turned = &lines_of(&lines, "turned.nd2", "overview.nd2")[0];
    assert_eq!(turned["moving"]["plane"], "t0p0z1c0", "the middle focus step stands for its stack");
    let stranger = &lines_of(&lines, "stranger.nd2", "overview.nd2")[0];
    assert_eq!((&stranger["event"], &stranger["accepted"]), (&"refused".into(), &false.into()));
    assert!(stranger["reason"].is_string() && stranger["reference_from_moving"].is_null());
    // the fine fields show one scene twice, which is told; another magnification is no duplicate
    let pairs = sandbox.table("duplicate_pairs.csv");
    assert!(!pairs.contains("overview"), "{pairs}");

    let (again, _) = sandbox.scan(&[]);
    assert_eq!((&again["files"], &again["registrations"]), (&0.into(), &2.into()));
    assert_eq!(sandbox.lines("registrations").len(), 3);
}

/// A plate of one well: its overview, two fine fields of it, and an overview of another well.
fn plate() -> Vec<(&'static str, Vec<u8>)> {
    let scene = scene(3);
    let tiff = |view: View, noise_seed| view.tiff(&scene, noise_seed, Some(view.pixel_size_um()));
    vec![
        ("10x/p1_B02_s1_w1.tif", tiff(overview(), 1)),
        ("40x/p1_B02_s1_w1.tif", tiff(fine([420.0, 440.0], -2.0, false), 2)),
        ("40x/p1_B02_s7_w1.tif", tiff(fine([600.0, 580.0], 1.0, true), 3)),
        ("10x/p1_B03_s1_w1.tif", tiff(overview(), 4)),
    ]
}

#[test]
fn the_order_of_arrival_and_a_kill_in_between_change_nothing() {
    let plate = plate();
    let mut tables = Vec::new();
    for (order, killed_after) in [([0, 1, 2, 3], 3), ([1, 3, 2, 0], 2), ([2, 0, 3, 1], 1)] {
        let sandbox = Sandbox::new();
        let mut daemon = sandbox.start();
        for (n, index) in order.into_iter().enumerate() {
            sandbox.drop_file(plate[index].0, &plate[index].1);
            if n == killed_after {
                // a last one may be anywhere on its way
                daemon.kill();
                daemon = sandbox.start();
            }
            sandbox.wait_for_files(n + 1);
        }
        assert_eq!(daemon.stop(), Some(0));
        let lines = sandbox.lines("registrations");
        assert_eq!(events(&lines), ["registered"; 2], "{order:?}: {lines:?}");
        for site in ["s1", "s7"] {
            let found = lines_of(&lines, &format!("40x/p1_B02_{site}_w1.tif"), "10x/p1_B02_s1_w1.tif");
            assert_eq!(found.len(), 1, "{order:?}");
            assert_eq!(found[0]["paired_by"], "well");
            assert_eq!(
                (&found[0]["moving"]["well"], &found[0]["moving"]["plate"]),
                (&"B02".into(), &"p1".into())
            );
        }
        let pairs: Vec<u64> = lines.iter().map(|line| line["n_pairs"].as_u64().unwrap()).collect();
        check_merged(&sandbox, &pairs);
        tables.push(["registrations.csv", "merged_cells.csv"].map(|name| sandbox.table(name)));
    }
    assert_eq!(tables[0][0].lines().count(), 3, "{}", tables[0][0]);
    assert!(tables[0][0].contains("B02") && !tables[0][0].contains("B03"));
    assert!(tables.iter().all(|table| *table == tables[0]), "{tables:?}");
}

/// The rows of a table, by column.
fn rows(table: &str) -> Vec<BTreeMap<String, String>> {
    let mut lines = table.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let row = |line: &str| {
        names.iter().zip(line.split(',')).map(|(n, c)| ((*n).to_owned(), c.to_owned())).collect()
    };
    lines.map(row).collect()
}

/// The merged cells of a plate: each once, near to its partner, and under the number that it has in the tables of objects.
fn check_merged(sandbox: &Sandbox, n_pairs: &[u64]) {
    let table = sandbox.table("merged_cells.csv");
    let expected = "plate,well,reference_file,reference_plane,moving_file,moving_plane,tile,cell_0,i_0,j_0,site,cell_1,i_1,\
                    j_1,distance";
    assert_eq!(table.lines().next(), Some(expected));
    let cells = rows(&table);
    let (most, sum) = (*n_pairs.iter().max().unwrap() as usize, n_pairs.iter().sum::<u64>() as usize);
    // both fields show a part of the well
    assert!(cells.len() > most && cells.len() < sum, "{} of {n_pairs:?}", cells.len());
    for (file, cell, [i, j]) in
        [("reference_file", "cell_0", ["i_0", "j_0"]), ("moving_file", "cell_1", ["i_1", "j_1"])]
    {
        let named: BTreeSet<_> = cells.iter().map(|row| (&row[file], &row[cell])).collect();
        assert_eq!(named.len(), cells.len(), "{cell} counts once");
        for row in &cells {
            let path = format!("objects/in/{}.objects.csv", row[file]);
            let objects = rows(&fs::read_to_string(sandbox.out().join(path)).unwrap());
            let object = objects.iter().find(|object| object["label"] == row[cell]).unwrap();
            for (own, of_object) in [(i, "centroid-0"), (j, "centroid-1")] {
                let [own, of_object] =
                    [&row[own], &object[of_object]].map(|text| text.parse::<f64>().unwrap());
                assert!((own - of_object).abs() < 1e-3, "{row:?} {object:?}");
            }
        }
    }
    let is_right = |row: &BTreeMap<String, String>| {
        (row["plate"].as_str(), row["well"].as_str(), row["tile"].as_str()) == ("p1", "B02", "1")
            && ["1", "7"].contains(&row["site"].as_str())
            && row["distance"].parse::<f64>().unwrap() < 2.0
    };
    assert!(cells.iter().all(is_right), "{table}");
}

#[test]
fn without_pixel_sizes_the_objectives_say_which_is_the_finer() {
    let sandbox = Sandbox::new();
    let scene = scene(4);
    let view = fine([480.0, 500.0], 2.0, false);
    let fine_tiff = view.tiff(&scene, 2, None);
    sandbox.drop_file("40x/p1_B02_s1_w1.tif", &fine_tiff);
    sandbox.drop_file("10x/p1_B02_s1_w1.tif", &overview().tiff(&scene, 1, None));
    // nothing says how fine this one is
    sandbox.drop_file("other/p1_B02_s1_w1.tif", &view.tiff(&scene, 3, None));
    sandbox.scan(&[]);
    let lines = sandbox.lines("registrations");
    assert_eq!(events(&lines), ["registered"], "{lines:?}");
    assert_eq!(lines[0]["moving"]["file"], "40x/p1_B02_s1_w1.tif");
    assert!(lines[0]["rmsd_um"].is_null());
    // one field in one overview: the pairs that the line counts
    let n_cells = sandbox.table("merged_cells.csv").lines().count() - 1;
    assert_eq!(Some(n_cells as u64), lines[0]["n_pairs"].as_u64());
    assert!(view.error_px(&lines[0]) < 1.0);
}

#[test]
fn settings_choose_the_optimizer_and_keep_pictures_of_what_stands() {
    let sandbox = Sandbox::new();
    let plate = plate();
    let scan = || {
        let mut command = scopewatch();
        command.arg("scan").arg(sandbox.inbox()).arg("--out").arg(sandbox.out());
        for (name, value) in
            [("OPTIMIZER", "lbfgsb"), ("MODEL", "auto"), ("WARP", "off"), ("PICTURES", "true")]
        {
            command.env(format!("SCOPEWATCH__REGISTRATION__{name}"), value);
        }
        assert!(output(&mut command).status.success());
    };
    plate[..3].iter().for_each(|(name, bytes)| drop(sandbox.drop_file(name, bytes)));
    scan();
    let lines = sandbox.lines("registrations");
    assert_eq!(events(&lines), ["registered"; 2]);
    for line in &lines {
        let optimizer = &line["optimizer"];
        assert_eq!((&optimizer["name"], &optimizer["chosen_by"]), (&"lbfgsb".into(), &"setting".into()));
        assert_eq!((&line["model"], &line["warp"]), (&"similarity".into(), &Value::Null));
    }
    let pictures = sandbox.out().join("pictures/in/40x");
    let names = || {
        let names =
            fs::read_dir(&pictures).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect::<BTreeSet<_>>()
    };
    let name = |site: &str| format!("p1_B02_{site}_w1.tif.t0p0z0c0 in 10x%2Fp1_B02_s1_w1.tif.t0p0z0c0.svg");
    assert_eq!(names(), [name("s1"), name("s7")].into());
    let picture = || fs::read_to_string(pictures.join(name("s1"))).unwrap();
    let before = picture();
    assert!(
        before.contains("40x/p1_B02_s1_w1.tif t0p0z0c0</tspan>") && before.ends_with("</svg>\n"),
        "{before}"
    );
    let n_pairs = lines_of(&lines, plate[1].0, plate[0].0)[0]["n_pairs"].to_string();
    assert!(before.contains(&format!(">{n_pairs} pairs, ")), "{n_pairs}: {before}");
    // one place becomes another, the other one no place at all; what is not ours stays
    fs::write(pictures.join("mine.svg"), "<svg/>").unwrap();
    sandbox.drop_file(plate[1].0, &plate[2].1);
    sandbox.drop_file(plate[2].0, &fine([420.0, 440.0], -2.0, false).tiff(&scene(9), 2, Some(FINE_UM)));
    scan();
    assert_eq!(names(), [name("s1"), "mine.svg".to_owned()].into());
    assert_ne!(picture(), before);
}

#[test]
fn a_field_that_is_replaced_withdraws_its_registrations() {
    let sandbox = Sandbox::new();
    let plate = plate();
    plate[..2].iter().for_each(|(name, bytes)| drop(sandbox.drop_file(name, bytes)));
    sandbox.scan(&[]);
    let before = sandbox.table("registrations.csv");
    let stranger = fine([420.0, 440.0], -2.0, false).tiff(&scene(9), 2, Some(FINE_UM));
    sandbox.drop_file(plate[1].0, &stranger);
    sandbox.scan(&[]);
    assert_eq!(events(&sandbox.lines("registrations")), ["registered", "withdrawn", "refused"]);
    assert_eq!(sandbox.table("registrations.csv").lines().count(), 2);
    // as it was
    sandbox.drop_file(plate[1].0, &plate[1].1);
    let (summary, _) = sandbox.scan(&[]);
    assert_eq!((&summary["registrations"], &summary["registrations_refused"]), (&1.into(), &0.into()));
    assert_eq!(sandbox.lines("registrations").len(), 5);
    assert_eq!(sandbox.table("registrations.csv"), before);
    // gone bad: what was found is withdrawn with it
    let path = sandbox.inbox().join(plate[1].0);
    fs::write(path, b"II*\0 no directory here").unwrap();
    sandbox.scan(&[]);
    assert_eq!(events(&sandbox.lines("registrations")).last(), Some(&"withdrawn"));
    assert_eq!(sandbox.table("registrations.csv").lines().count(), 1);
    assert_eq!(sandbox.table("merged_cells.csv").lines().count(), 1);
}

#[test]
fn the_command_says_whose_transform_it_is_bends_and_draws() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut random = Random::new(6);
    let map = Affine::similarity(0.25, 0.1, false, [300.0, 200.0]);
    let mut tables = ["id,x,y\n", "id,x,y\n", "id,x,y\n"].map(str::to_owned);
    for n in 0..150 {
        let [x, y] = [(); 2].map(|()| random.between(0.0, 2048.0));
        // a corner is taken outwards by 2 % of its radius
        let factor = 1.0 + 0.02 * ((x - 1024.0).powi(2) + (y - 1024.0).powi(2)) / (2.0 * 1024.0 * 1024.0);
        let bent = [x, y].map(|value| 1024.0 + factor * (value - 1024.0));
        for (table, [x, y]) in tables.iter_mut().zip([[x, y], map.apply(bent), map.apply([x, y])]) {
            let noisy = [x, y].map(|value| value + 0.05 * random.normal());
            *table += &format!("n{n},{},{}\n", noisy[0], noisy[1]);
        }
    }
    for (name, table) in ["moving.csv", "bent.csv", "straight.csv"].iter().zip(&tables) {
        fs::write(path(name), table).unwrap();
    }
    let register = |reference: &str, flags: &[&str]| -> Value {
        let mut command = scopewatch();
        command
            .arg("register")
            .arg("--moving")
            .arg(path("moving.csv"))
            .arg("--reference")
            .arg(path(reference));
        let ended = output(command.args(["--json"]).args(flags).arg("--picture").arg(path("picture.svg")));
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        serde_json::from_slice(&ended.stdout).unwrap()
    };
    let answer = register("bent.csv", &["--model", "auto"]);
    assert_eq!(
        (&answer["optimizer"]["name"], &answer["optimizer"]["chosen_by"]),
        (&"lm".into(), &"benchmark".into())
    );
    let [with, without] =
        ["cv_rmsd_px_with", "cv_rmsd_px_without"].map(|key| answer["warp"][key].as_f64().unwrap());
    assert!(with < 0.5 * without, "{answer}");
    let picture = fs::read_to_string(path("picture.svg")).unwrap();
    assert!(
        picture.contains("moving.csv</tspan>") && picture.contains("between partners (lines are "),
        "{picture}"
    );
    let off = register("bent.csv", &["--warp", "off", "--optimizer", "lbfgsb"]);
    assert_eq!((&off["warp"], &off["optimizer"]["name"]), (&Value::Null, &"lbfgsb".into()));
    assert_eq!(register("straight.csv", &[])["warp"], Value::Null);
    // nothing to draw
    fs::remove_file(path("picture.svg")).unwrap();
    fs::write(path("few.csv"), "id,x,y\na,1,2\n").unwrap();
    assert_eq!(register("few.csv", &[])["accepted"], false);
    assert!(!path("picture.svg").exists());
}
