//! The region table as CSV text: identity columns of the caller, then scikit-image's `regionprops_table` columns in
//! pixels, then the lengths and areas in micrometres where a pixel size is known.

use std::fmt::Write as _;

use super::Region;

/// The columns in pixels, in order, under scikit-image's names.
pub const COLUMNS: [&str; 24] = [
    "label",
    "area",
    "centroid-0",
    "centroid-1",
    "centroid_weighted-0",
    "centroid_weighted-1",
    "bbox-0",
    "bbox-1",
    "bbox-2",
    "bbox-3",
    "axis_major_length",
    "axis_minor_length",
    "eccentricity",
    "orientation",
    "solidity",
    "extent",
    "perimeter",
    "equivalent_diameter_area",
    "intensity_mean",
    "intensity_min",
    "intensity_max",
    "intensity_std",
    "intensity_median",
    "touches_border",
];

/// The columns in micrometres, in order: present where a pixel size is known.
pub const COLUMNS_UM: [&str; 13] = [
    "area_um2",
    "centroid-0_um",
    "centroid-1_um",
    "centroid_weighted-0_um",
    "centroid_weighted-1_um",
    "bbox-0_um",
    "bbox-1_um",
    "bbox-2_um",
    "bbox-3_um",
    "axis_major_length_um",
    "axis_minor_length_um",
    "perimeter_um",
    "equivalent_diameter_area_um",
];

/// What the cells of a column hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// Text.
    Text,
    /// A whole number.
    Whole,
    /// A real number.
    Real,
    /// `true` or `false`.
    Flag,
}

/// What a column of this name holds; what is no measure is identity, and that is text but for time and focus step.
pub fn column_type(name: &str) -> ColumnType {
    match name {
        "t" | "z" | "label" | "area" | "bbox-0" | "bbox-1" | "bbox-2" | "bbox-3" => ColumnType::Whole,
        "touches_border" => ColumnType::Flag,
        _ if COLUMNS.contains(&name) || COLUMNS_UM.contains(&name) => ColumnType::Real,
        _ => ColumnType::Text,
    }
}

/// The table of one plane: a header line and one line per object, each ended by a line feed.
///
/// `identity` are the leading columns as (name, value); their cells are escaped by [`text_cell`]. A measure that
/// does not exist (a weighted centroid where all intensities are zero) is an empty cell.
pub fn to_csv(objects: &[Region], identity: &[(&str, &str)], pixel_size_um: Option<f64>) -> String {
    let names: Vec<&str> = identity.iter().map(|&(name, _)| name).collect();
    let values: Vec<&str> = identity.iter().map(|&(_, value)| value).collect();
    let mut csv = header(&names, pixel_size_um.is_some());
    append_rows(&mut csv, objects, &values, pixel_size_um);
    csv
}

/// The header line, with its line feed; `with_um` adds the columns in micrometres.
pub fn header(identity_names: &[&str], with_um: bool) -> String {
    let mut cells: Vec<String> = identity_names.iter().map(|name| text_cell(name)).collect();
    cells.extend(COLUMNS.iter().map(|&name| name.to_owned()));
    if with_um {
        cells.extend(COLUMNS_UM.iter().map(|&name| name.to_owned()));
    }
    cells.join(",") + "\n"
}

/// Appends one line per object to `csv`: several planes of a container share one table.
pub fn append_rows(
    csv: &mut String,
    objects: &[Region],
    identity_values: &[&str],
    pixel_size_um: Option<f64>,
) {
    let prefix: String = identity_values.iter().map(|value| text_cell(value) + ",").collect();
    for object in objects {
        csv.push_str(&prefix);
        append_pixel_columns(csv, object);
        if let Some(um) = pixel_size_um {
            append_um_columns(csv, object, um);
        }
        csv.push('\n');
    }
}

/// A text as a CSV cell: a leading `=`, `+`, `-`, `@`, tab or carriage return, which a spreadsheet would take for a
/// formula, gets an apostrophe in front, and so does a leading apostrophe: who strips one has the text as it was.
/// Separators, quotes and line ends are quoted as RFC 4180 says.
pub fn text_cell(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\'']) { "'" } else { "" };
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    } else {
        format!("{guard}{text}")
    }
}

fn append_pixel_columns(csv: &mut String, object: &Region) {
    let [top, left, bottom, right] = object.bbox;
    append_text(csv, format_args!("{},{}", object.label, object.area));
    append_numbers(csv, &object.centroid);
    append_weighted(csv, object.centroid_weighted);
    append_text(csv, format_args!(",{top},{left},{bottom},{right}"));
    let numbers = [
        object.axis_major_length,
        object.axis_minor_length,
        object.eccentricity,
        object.orientation,
        object.solidity,
        object.extent,
        object.perimeter,
        object.equivalent_diameter_area,
        object.intensity_mean,
        object.intensity_min,
        object.intensity_max,
        object.intensity_std,
        object.intensity_median,
    ];
    append_numbers(csv, &numbers);
    append_text(csv, format_args!(",{}", object.touches_border));
}

fn append_um_columns(csv: &mut String, object: &Region, um: f64) {
    append_numbers(csv, &[object.area as f64 * um * um]);
    append_numbers(csv, &object.centroid.map(|px| px * um));
    append_weighted(csv, object.centroid_weighted.map(|point| point.map(|px| px * um)));
    append_numbers(csv, &object.bbox.map(|px| px as f64 * um));
    let lengths = [
        object.axis_major_length,
        object.axis_minor_length,
        object.perimeter,
        object.equivalent_diameter_area,
    ];
    append_numbers(csv, &lengths.map(|px| px * um));
}

fn append_weighted(csv: &mut String, point: Option<[f64; 2]>) {
    append_numbers(csv, &point.unwrap_or([f64::NAN; 2]));
}

fn append_numbers(csv: &mut String, numbers: &[f64]) {
    for number in numbers {
        if number.is_finite() {
            append_text(csv, format_args!(",{number}"));
        } else {
            csv.push(',');
        }
    }
}

fn append_text(csv: &mut String, text: std::fmt::Arguments<'_>) {
    csv.write_fmt(text).expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::segmentation::{LabelImage, measure};
    use crate::formats::plane::{Plane, Samples};

    fn object() -> Region {
        let labels = vec![0, 1, 1, 0, 1, 1];
        let plane =
            Plane { height: 2, width: 3, n_samples: 1, samples: Samples::Uint8(vec![9, 1, 2, 9, 3, 4]) };
        measure(&plane, &LabelImage { height: 2, width: 3, n_objects: 1, labels }).remove(0)
    }

    #[test]
    fn a_table_has_identity_pixels_and_micrometres() {
        let csv = to_csv(&[object()], &[("file", "a,b.tif"), ("well", "-B2")], Some(0.5));
        let mut lines = csv.lines();
        let names = [&["file", "well"][..], &COLUMNS, &COLUMNS_UM].concat().join(",");
        assert_eq!(lines.next(), Some(names.as_str()));
        assert_eq!(
            lines.next(),
            Some(
                "\"a,b.tif\",'-B2,1,4,0.5,1.5,0.7,1.6,0,1,2,3,2,2,0,-0.7853981633974483,1,1,4,2.256758334191025,\
                 2.5,1,4,1.118033988749895,2.5,true,1,0.25,0.75,0.35,0.8,0,0.5,1,1.5,1,1,2,1.1283791670955126"
            )
        );
        assert_eq!(lines.next(), None);
        assert_eq!(to_csv(&[], &[], None), COLUMNS.join(",") + "\n");
    }

    #[test]
    fn what_does_not_exist_is_an_empty_cell() {
        let dark = Region { centroid_weighted: None, ..object() };
        assert!(to_csv(&[dark], &[], None).contains("0.5,1.5,,,0,1,"));
    }

    #[test]
    fn text_cells_are_no_formulas_and_no_separators() {
        for (text, cell) in [
            ("plain", "plain"),
            ("=1+1", "'=1+1"),
            ("@x", "'@x"),
            ("'q", "''q"),
            ("\tx", "'\tx"),
            ("\rx", "\"'\rx\""),
            ("+a,\"b\"", "\"'+a,\"\"b\"\"\""),
            ("SD DAPI- EM,SD GFP - EM", "\"SD DAPI- EM,SD GFP - EM\""),
        ] {
            assert_eq!(text_cell(text), cell);
        }
    }
}
