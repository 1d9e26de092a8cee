//! Objects as QuPath reads them: GeoJSON features of detections, one line of text per object.

use std::fmt::Write as _;

use super::outline::{Polygon, Ring, outlines};
use super::{LabelImage, Region};
use crate::units::PlaneIndex;

/// The first line of a collection of features, with its line feed. Features follow, one a line, with a comma between two;
/// then [`TAIL`].
pub const HEAD: &str = "{\"type\":\"FeatureCollection\",\"features\":[\n";

/// The last line of a collection, with its line feed.
pub const TAIL: &str = "]}\n";

/// What the objects of one plane have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ObjectPlane<'n> {
    /// By what the file is known; goes into the identifiers.
    pub file: &'n str,
    /// By what the plane is known in its file; goes into the identifiers.
    pub name: &'n str,
    /// Where QuPath shows the objects: channel, focus step and time point, from 0.
    pub index: PlaneIndex,
    /// The side of a pixel in micrometres, where it is known: lengths and areas are given in micrometres then, else in
    /// pixels.
    pub pixel_size_um: Option<f64>,
}

/// One feature per object, each ended by a line feed and without a comma.
///
/// Outlines run along the edges of pixels, in pixels, with the origin at the outer corner of the first pixel, as QuPath
/// counts. Identifiers depend on file, plane and label only. Measurements have the names of the table's columns, with their
/// unit; one that does not exist is left out.
pub fn features(labels: &LabelImage, objects: &[Region], plane: &ObjectPlane<'_>) -> String {
    let outlines = outlines(labels);
    let mut text = String::new();
    for object in objects {
        let polygons = (object.label as usize).checked_sub(1).and_then(|index| outlines.get(index));
        if let Some(polygons) = polygons.filter(|polygons| !polygons.is_empty()) {
            append_feature(&mut text, object, polygons, plane);
        }
    }
    text
}

/// A whole collection of what [`features`] has made.
pub fn collection(features: &str) -> String {
    let mut text = HEAD.to_owned();
    for (index, feature) in features.lines().enumerate() {
        text.push_str(if index > 0 { ",\n" } else { "" });
        text.push_str(feature);
    }
    text.push_str(if features.is_empty() { "" } else { "\n" });
    text.push_str(TAIL);
    text
}

fn append_feature(text: &mut String, object: &Region, polygons: &[Polygon], plane: &ObjectPlane<'_>) {
    let id = identifier(plane, object.label);
    append(text, format_args!("{{\"type\":\"Feature\",\"id\":\"{id}\",\"geometry\":{{\"type\":"));
    match polygons {
        [polygon] => {
            text.push_str("\"Polygon\",\"coordinates\":");
            append_polygon(text, polygon);
        }
        several => {
            text.push_str("\"MultiPolygon\",\"coordinates\":[");
            for (index, polygon) in several.iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                append_polygon(text, polygon);
            }
            text.push(']');
        }
    }
    let PlaneIndex { t, z, c, .. } = plane.index;
    append(text, format_args!(",\"plane\":{{\"c\":{c},\"z\":{z},\"t\":{t}}}}}"));
    text.push_str(",\"properties\":{\"objectType\":\"detection\",\"measurements\":{");
    append(text, format_args!("\"label\":{}", object.label));
    for (name, value) in measurements(object, plane.pixel_size_um) {
        if value.is_finite() {
            append(text, format_args!(",\"{name}\":{value}"));
        }
    }
    text.push_str("}}}\n");
}

fn append_polygon(text: &mut String, polygon: &Polygon) {
    text.push('[');
    append_ring(text, &polygon.outer);
    for hole in &polygon.holes {
        text.push(',');
        append_ring(text, hole);
    }
    text.push(']');
}

/// A ring ends with its first corner.
fn append_ring(text: &mut String, ring: &Ring) {
    text.push('[');
    for [x, y] in ring {
        append(text, format_args!("[{x},{y}],"));
    }
    if let Some([x, y]) = ring.first() {
        append(text, format_args!("[{x},{y}]"));
    }
    text.push(']');
}

fn measurements(object: &Region, pixel_size_um: Option<f64>) -> [(&'static str, f64); 15] {
    let um = pixel_size_um.filter(|um| um.is_finite() && *um > 0.0);
    let names = if um.is_some() {
        [
            "area µm^2",
            "axis_major_length µm",
            "axis_minor_length µm",
            "perimeter µm",
            "equivalent_diameter_area µm",
        ]
    } else {
        [
            "area px^2",
            "axis_major_length px",
            "axis_minor_length px",
            "perimeter px",
            "equivalent_diameter_area px",
        ]
    };
    let um = um.unwrap_or(1.0);
    [
        (names[0], object.area as f64 * um * um),
        (names[1], object.axis_major_length * um),
        (names[2], object.axis_minor_length * um),
        (names[3], object.perimeter * um),
        (names[4], object.equivalent_diameter_area * um),
        ("eccentricity", object.eccentricity),
        ("orientation rad", object.orientation),
        ("solidity", object.solidity),
        ("extent", object.extent),
        ("intensity_mean", object.intensity_mean),
        ("intensity_min", object.intensity_min),
        ("intensity_max", object.intensity_max),
        ("intensity_std", object.intensity_std),
        ("intensity_median", object.intensity_median),
        ("touches_border", f64::from(u8::from(object.touches_border))),
    ]
}

/// A UUID of version 8 (RFC 9562) from the hash of file, plane and label.
fn identifier(plane: &ObjectPlane<'_>, label: u32) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("scopewatch object identifier 1");
    for part in [plane.file, plane.name] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    let hash = hasher.update(&label.to_le_bytes()).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_bytes()[..16]);
    bytes[6] = bytes[6] & 0x0F | 0x80;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        text.push_str(if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" });
        append(&mut text, format_args!("{byte:02x}"));
    }
    text
}

fn append(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::analysis::segmentation::measure;
    use crate::formats::plane::{Plane, Samples};

    const PLANE: ObjectPlane<'_> = ObjectPlane {
        file: "in/a.tif",
        name: "t1p0z2c3",
        index: PlaneIndex { t: 1, p: 0, z: 2, c: 3 },
        pixel_size_um: None,
    };

    /// Two objects, the second in two parts; the first has a hole.
    fn objects() -> (LabelImage, Vec<Region>) {
        let labels = vec![1, 1, 1, 0, 2, 1, 0, 1, 0, 0, 1, 1, 1, 2, 0];
        let labels = LabelImage { height: 3, width: 5, n_objects: 2, labels };
        let plane = Plane { height: 3, width: 5, n_samples: 1, samples: Samples::Uint8(vec![7; 15]) };
        let regions = measure(&plane, &labels);
        (labels, regions)
    }

    #[test]
    fn features_are_detections_with_plane_and_measurements() {
        let (labels, regions) = objects();
        let text = features(&labels, &regions, &PLANE);
        let read: Value = serde_json::from_str(&collection(&text)).unwrap();
        let [first, second] = [&read["features"][0], &read["features"][1]];
        assert_eq!(
            (read["type"].as_str(), read["features"].as_array().unwrap().len()),
            (Some("FeatureCollection"), 2)
        );
        assert_eq!(first["geometry"]["type"], "Polygon");
        let rings =
            json!([[[0, 0], [3, 0], [3, 3], [0, 3], [0, 0]], [[1, 1], [1, 2], [2, 2], [2, 1], [1, 1]]]);
        assert_eq!(first["geometry"]["coordinates"], rings);
        assert_eq!(first["geometry"]["plane"], json!({ "c": 3, "z": 2, "t": 1 }));
        assert_eq!(first["properties"]["objectType"], "detection");
        let measured = &first["properties"]["measurements"];
        assert_eq!((&measured["label"], &measured["area px^2"]), (&json!(1), &json!(8)));
        assert_eq!((&measured["touches_border"], &measured["intensity_mean"]), (&json!(1), &json!(7)));
        assert_eq!(second["geometry"]["type"], "MultiPolygon");
        assert_eq!(second["geometry"]["coordinates"].as_array().unwrap().len(), 2);
        let calibrated = ObjectPlane { pixel_size_um: Some(0.5), ..PLANE };
        let read: Value =
            serde_json::from_str(&collection(&features(&labels, &regions, &calibrated))).unwrap();
        let measured = &read["features"][0]["properties"]["measurements"];
        assert_eq!((&measured["area µm^2"], &measured["area px^2"]), (&json!(2), &Value::Null));
        assert_eq!(serde_json::from_str::<Value>(&collection("")).unwrap()["features"], json!([]));
    }

    #[test]
    fn identifiers_are_uuids_that_depend_on_file_plane_and_label_alone() {
        let id = identifier(&PLANE, 1);
        assert_eq!(id, identifier(&ObjectPlane { pixel_size_um: Some(1.0), ..PLANE }, 1));
        let others = [
            identifier(&PLANE, 2),
            identifier(&ObjectPlane { file: "in/b.tif", ..PLANE }, 1),
            identifier(&ObjectPlane { name: "t1p0z2c4", ..PLANE }, 1),
            identifier(&ObjectPlane { file: "in/a.tift", name: "1p0z2c3", ..PLANE }, 1),
        ];
        assert!(others.iter().all(|other| *other != id));
        let parts: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert!(id.as_bytes()[14] == b'8' && b"89ab".contains(&id.as_bytes()[19]), "{id}");
    }
}
