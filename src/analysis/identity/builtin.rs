//! The names that common acquisition programs give to files and folders.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use super::PlateIdentity;
use super::fields::fields_of;

/// Names of files; the first that matches decides. Each starts at a separator and runs to the end of the name.
const FILES: &[&str] = &[
    // NIS-Elements JOBS and HCS: Well1_Point1_0034_ChannelDAPI,Cy3_Seq0034.nd2; a point may repeat its well
    r"(?:^|[/_])Well(?<well>[A-P]\d{1,2})(?:_Point(?:[A-P]\d{1,2}_)?(?<site>\d{1,6}))?(?:_Channel(?<channel>[^/]+?))?(?:_Seq\d+)?\.(?:nd2|tiff?)$",
    r"(?:^|[/_])(?<well>Well\d{1,4})(?:_Point(?:\d{1,4}_)?(?<site>\d{1,6}))?(?:_Channel(?<channel>[^/]+?))?(?:_Seq\d+)?\.(?:nd2|tiff?)$",
    // NIS-Elements HCS: x_Wells-B4_Points-006__Channel_DAPI,GFP.nd2
    r"(?:^|[/_ ])Wells-(?<well>[A-P]\d{1,2})_Points-(?<site>\d{1,6})(?:__Channel_(?<channel>[^/]+?))?\.(?:nd2|tiff?)$",
    // MetaXpress: plate_E07_s1_w1.TIF, with _thumb and a GUID where the database kept them
    r"(?:^|/)(?:(?<plate>[^/]+)_)?(?<well>[A-P]\d{2})_s(?<site>\d{1,4})(?:_(?<channel>w\d{1,2}))?(?:_thumb)?(?:[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})?\.(?i:tiff?)$",
    r"(?:^|/)(?:(?<plate>[^/]+)_)?(?<well>[A-P]\d{2})_(?<channel>w\d{1,2})(?:_thumb)?(?:[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})?\.(?i:tiff?)$",
    // Opera Phenix, Operetta (Harmony): r02c03f01p01-ch1sk1fk1fl1.tiff
    r"(?:^|/)r(?<row>\d{2})c(?<column>\d{2})f(?<site>\d{2,4})p(?<z>\d{2,4})-(?<channel>ch\d{1,2})(?:sk(?<t>\d{1,6})fk\d+fl\d+)?\.tiff?$",
    // Yokogawa CV7000, CV8000: plate_B02_T0001F001L01A01Z01C01.tif
    r"(?:^|/)(?:(?<plate>[^/]+)_)?(?<well>[A-P]\d{2})_T(?<t>\d{4})F(?<site>\d{3,4})L\d{2}A\d{2}Z(?<z>\d{2,3})(?<channel>C\d{2})\.(?:tiff?|png)$",
    // Micro-Manager 2: img_channel000_position001_time000000002_z003.tif
    r"(?:^|/)img_(?<channel>channel\d{3})_position(?<site>\d{3})_time(?<t>\d{9})_z(?<z>\d{3})\.tiff?$",
    // Micro-Manager 1.4: Pos0/img_000000000_DAPI_000.tif
    r"(?:^|/)(?:(?<site>(?:\d+-)?Pos[_-]?\d[\d_-]*)/)?img_(?<t>\d{9})_(?<channel>[^/]+)_(?<z>\d{3})\.tiff?$",
    // Micro-Manager stacks: exp_1_MMStack_Pos0.ome.tif, _A1-Site_0, _1-Pos000_001, continued as _1.ome.tif
    r"(?:^|[/_])MMStack_(?<well>[A-P]\d{1,2})-Site_(?<site>\d{1,4})(?:_\d{1,3})?\.ome\.tiff?$",
    r"(?:^|[/_])MMStack_(?<site>(?:\d+-)?Pos(?:_?\d{3}_\d{3}|[_-]?\d+))(?:_\d{1,3})?\.ome\.tiff?$",
];

/// Names of folders; each adds what is still open. The innermost folder of a kind counts.
const FOLDERS: &[&str] = &[
    // NIS-Elements JOBS: date, time, number
    r"^(?:.*/)?(?<run>\d{8}_\d{6}_\d{3})/",
    r"^(?:.*/)?(?i:cycle)[_ -]?(?<cycle>\d{1,4})/",
    // MetaXpress
    r"^(?:.*/)?TimePoint_(?<t>\d{1,6})/",
    r"^(?:.*/)?ZStep_(?<z>\d{1,6})/",
    r"^(?:.*/)?Well[_ -]?(?<well>[A-P]\d{1,2})/",
];

/// A magnification between separators, of those that are no likely dilution.
const MAGNIFICATION: &str = r"(?:^|[/_ -])(4|10|20|25|40|60|63|100)[xX](?:[/_ .-]|$)";

static FILE_PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| compiled(FILES));
static FOLDER_PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| compiled(FOLDERS));
static MAGNIFICATION_PATTERN: LazyLock<Regex> = LazyLock::new(|| compile(MAGNIFICATION));

/// What the built-in names say of a path.
pub(super) fn identify(relative_path: &str) -> PlateIdentity {
    let mut identity =
        FILE_PATTERNS.iter().find_map(|pattern| fields_of(pattern, relative_path)).unwrap_or_default();
    for folder in FOLDER_PATTERNS.iter().filter_map(|pattern| fields_of(pattern, relative_path)) {
        identity.fill_from(folder);
    }
    identity.magnification = identity.magnification.or_else(|| only_magnification(relative_path));
    identity
}

/// The magnification in a path that names exactly one.
fn only_magnification(path: &str) -> Option<f64> {
    let mut found = BTreeSet::new();
    let mut start = 0;
    // neighbours share a separator, so a search goes on at the digit of the last find
    while let Some(captures) = MAGNIFICATION_PATTERN.captures_at(path, start) {
        let number = captures.get(1).expect("the group is not optional");
        found.insert(number.as_str().parse::<u32>().ok()?);
        start = number.end();
    }
    match found.len() {
        1 => found.pop_first().map(f64::from),
        _ => None,
    }
}

fn compiled(patterns: &[&str]) -> Vec<Regex> {
    patterns.iter().map(|pattern| compile(pattern)).collect()
}

fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the built-in patterns are compiled by a test")
}
