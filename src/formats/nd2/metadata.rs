//! What an ND2 file says of its optics, channels and stage: `ImageMetadataSeq`, `ImageTextInfo` and the caches.

use super::attributes::Attributes;
use super::value::{Level, Value};
use crate::formats::{Channel, Position};

/// The objective as the file names it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Objective {
    pub(crate) name: Option<String>,
    pub(crate) magnification: Option<f64>,
    pub(crate) numerical_aperture: Option<f64>,
}

/// One channel and its share of the interleaved components.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ChannelLayout {
    pub(crate) channel: Channel,
    pub(crate) first_component: u32,
    pub(crate) n_samples: u32,
}

/// The objective: settings of the sample first, then the picture, then the number in the objective's name.
///
/// `name_elsewhere` is the name in the text chunk. The picture's own magnification is -1 in every file seen.
pub(crate) fn objective(picture: &Level, name_elsewhere: Option<&str>) -> Objective {
    let planes = picture.level("sPicturePlanes");
    let setting = planes
        .and_then(|planes| planes.level("sSampleSetting"))
        .and_then(|samples| samples.levels().find_map(|sample| sample.level("pObjectiveSetting")));
    let from_setting = |name| setting.and_then(|setting| setting.positive(name));
    let name = setting
        .and_then(|setting| setting.text("wsObjectiveName"))
        .or_else(|| picture.text("wsObjectiveName"))
        .or(name_elsewhere);
    Objective {
        name: name.map(str::to_owned),
        magnification: from_setting("dObjectiveMag")
            .or_else(|| picture.positive("dObjectiveMag"))
            .or_else(|| name.and_then(magnification_in_name)),
        numerical_aperture: from_setting("dObjectiveNA").or_else(|| picture.positive("dObjectiveNA")),
    }
}

/// The number before an `x` that ends a word: 60 in `Plan Apo λ 60x`, 1.25 in `Plan UW 1.25X`, 40 in `40x/1.3 Oil`.
pub(crate) fn magnification_in_name(name: &str) -> Option<f64> {
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    name.char_indices().filter(|(_, c)| matches!(c, 'x' | 'X' | '×')).find_map(|(at, x)| {
        let ends_word = name[at + x.len_utf8()..].chars().next().is_none_or(|next| !next.is_alphanumeric());
        let head = name[..at].trim_end();
        let digits = &head[head.trim_end_matches(is_number).len()..];
        let value = digits.parse::<f64>().ok().filter(|value| *value > 0.0);
        value.filter(|_| ends_word)
    })
}

/// Micrometres per pixel, unless the file was never calibrated: 0, or exactly 1 without an objective.
pub(crate) fn pixel_size_um(picture: &Level, objective: &Objective) -> Option<f64> {
    let size = picture.positive("dCalibration")?;
    let is_placeholder = size == 1.0 && objective.name.is_none() && objective.magnification.is_none();
    let is_calibrated = picture.flag("bCalibrated").unwrap_or(true);
    (is_calibrated && !is_placeholder).then_some(size)
}

/// The channels in the order of their components.
///
/// A plane of the picture with several components is colour. Where the planes do not explain the components of a
/// pixel, they share them evenly, and where that fails every component is a channel of its own.
pub(crate) fn channels(picture: &Level, attributes: &Attributes) -> Vec<ChannelLayout> {
    let n_components = attributes.n_components;
    let planes = picture_planes(picture);
    let stated: Vec<u32> = planes
        .iter()
        .map(|plane| plane.count("uiCompCount").and_then(|n| u32::try_from(n).ok()).unwrap_or(1).max(1))
        .collect();
    let n_planes = u32::try_from(planes.len()).unwrap_or(u32::MAX);
    let n_samples: Vec<u32> = if stated.iter().fold(0, |sum: u32, n| sum.saturating_add(*n)) == n_components {
        stated
    } else if n_planes > 0 && n_components.is_multiple_of(n_planes) {
        vec![n_components / n_planes; planes.len()]
    } else {
        vec![1; n_components as usize]
    };
    let mut first_component = 0;
    let layout = |(index, n_samples): (usize, u32)| {
        let named = planes.get(index).map(|plane| channel(plane, n_samples)).unwrap_or_default();
        first_component += n_samples;
        ChannelLayout { channel: named, first_component: first_component - n_samples, n_samples }
    };
    n_samples.into_iter().enumerate().map(layout).collect()
}

/// The channels that the picture's planes name, in order.
pub(crate) fn named_channels(picture: &Level) -> Vec<Channel> {
    let n_samples = |plane: &Level| plane.count("uiCompCount").map_or(1, |n| u32::try_from(n).unwrap_or(1));
    picture_planes(picture).into_iter().map(|plane| channel(plane, n_samples(plane))).collect()
}

/// Components of a pixel as the picture's planes count them; `None` where it has none, or they say nothing.
pub(crate) fn n_components(picture: &Level) -> Option<u32> {
    let planes = picture_planes(picture);
    let counts = planes.iter().map(|plane| plane.count("uiCompCount").and_then(|n| u32::try_from(n).ok()));
    counts.sum::<Option<u32>>().filter(|n| *n > 0)
}

/// Whether two pictures were taken with the same optics into the same channels.
pub(crate) fn same_setup(a: &Level, b: &Level, attributes: &Attributes) -> bool {
    let setup = |picture: &Level| {
        let objective = objective(picture, None);
        (channels(picture, attributes), pixel_size_um(picture, &objective), objective)
    };
    setup(a) == setup(b)
}

/// The planes of the picture, `a0` before `a1` before `a10`.
fn picture_planes(picture: &Level) -> Vec<&Level> {
    let Some(planes) = picture.level("sPicturePlanes") else { return Vec::new() };
    let Some(planes) = planes.level("sPlaneNew").or_else(|| planes.level("sPlane")) else {
        return Vec::new();
    };
    let number = |name: &str| name.strip_prefix('a')?.parse::<u32>().ok();
    let mut planes: Vec<(Option<u32>, &Level)> = planes
        .0
        .iter()
        .filter_map(|(name, value)| match value {
            Value::Level(plane) => Some((number(name), plane)),
            _ => None,
        })
        .collect();
    if planes.iter().all(|(number, _)| number.is_some()) {
        planes.sort_by_key(|(number, _)| *number);
    }
    planes.into_iter().map(|(_, plane)| plane).collect()
}

fn channel(plane: &Level, n_samples: u32) -> Channel {
    let probe = plane.level("pFluorescentProbe");
    let name = plane.text("sDescription").or_else(|| probe.and_then(|probe| probe.text("m_sName")));
    let filter = || plane.level("pFilterPath")?.level("m_pFilter")?.levels().next();
    let emission = || probe.and_then(emission_peak_nm).or_else(|| filter().and_then(emission_peak_nm));
    Channel {
        name: name.unwrap_or_default().to_owned(),
        color_rgb: plane.count("uiColor").map(|color| {
            let [red, green, blue, ..] = color.to_le_bytes();
            [red, green, blue]
        }),
        emission_nm: if n_samples == 1 { emission() } else { None },
    }
}

/// Where the emission spectrum is highest; the first of several such points.
fn emission_peak_nm(holder: &Level) -> Option<f64> {
    let points = holder.level("m_EmissionSpectrum")?.level("pPoint")?;
    let mut peak: Option<(f64, f64)> = None;
    for point in points.levels() {
        let (height, nm) = (point.number("dTValue").unwrap_or(0.0), point.positive("dWavelength"));
        if let Some(nm) = nm.filter(|_| peak.is_none_or(|(highest, _)| height > highest)) {
            peak = Some((height, nm));
        }
    }
    peak.map(|(_, nm)| nm)
}

/// Stage position of the picture itself; none when the file has no stage data.
pub(crate) fn stage_position(picture: &Level) -> Option<Position> {
    let [x_um, y_um, z_um] = ["dXPos", "dYPos", "dZPos"].map(|name| picture.number(name));
    (x_um.is_some() || y_um.is_some() || z_um.is_some()).then(|| Position {
        name: String::new(),
        x_um,
        y_um,
        z_um,
    })
}

/// Start of the acquisition: the text as written (local time), else the absolute time of the first frame in UTC.
pub(crate) fn acquired_at(picture: &Level, text_date: Option<&str>) -> Option<String> {
    text_date.map(str::to_owned).or_else(|| picture.number("dTimeAbsolute").and_then(utc_from_julian_day))
}

/// `2025-03-26T17:58:17Z` from a Julian day number, for the years 1900 to 2199.
///
/// # References
/// E. G. Richards, "Calendars", in: Explanatory Supplement to the Astronomical Almanac, 3rd ed., 2013, section 15.11.
fn utc_from_julian_day(julian_day: f64) -> Option<String> {
    if !(2_415_020.5..2_524_593.5).contains(&julian_day) {
        return None;
    }
    let seconds = ((julian_day + 0.5) * 86_400.0).round() as i64;
    let (day, second) = (seconds / 86_400, seconds % 86_400);
    let f = day + 1401 + (((4 * day + 274_277) / 146_097) * 3) / 4 - 38;
    let e = 4 * f + 3;
    let h = 5 * ((e % 1461) / 4) + 2;
    let day_of_month = (h % 153) / 5 + 1;
    let month = (h / 153 + 2) % 12 + 1;
    let year = e / 1461 - 4716 + (14 - month) / 12;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    Some(format!("{year:04}-{month:02}-{day_of_month:02}T{hour:02}:{minute:02}:{second:02}Z"))
}

/// The numbers of a cache chunk, one per frame in the order of the file.
pub(crate) fn numbers_per_frame(chunk: &[u8]) -> Vec<f64> {
    chunk.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::Limits;

    #[test]
    fn magnification_is_found_in_real_objective_names() {
        let cases = [
            ("Plan Apo λ 60x", Some(60.0)),
            ("PLAN APO λD 40x OFN25 DIC N2", Some(40.0)),
            ("Plan Apo 20x DIC M N2", Some(20.0)),
            ("Plan UW 1.25X", Some(1.25)),
            ("S Plan Fluor ELWD 20x/0.45", Some(20.0)),
            ("Apo TIRF 100 x Oil", Some(100.0)),
            ("Plan Fluor 10×", Some(10.0)),
            ("Plexiglas", None),
            ("extra 5xy", None),
            ("x", None),
            ("0x", None),
            ("", None),
        ];
        for (name, expected) in cases {
            assert_eq!(magnification_in_name(name), expected, "{name:?}");
        }
    }

    #[test]
    fn a_pixel_size_that_was_never_calibrated_is_none() {
        let picture = |size: f64| Level::default().with("dCalibration", size);
        let nameless = Objective::default();
        let named = Objective { name: Some("Plan 4x".to_owned()), ..Objective::default() };
        let sizes = [0.0, -1.0, f64::NAN, 1.0, 0.65].map(|size| pixel_size_um(&picture(size), &nameless));
        assert_eq!(sizes, [None, None, None, None, Some(0.65)]);
        assert_eq!(pixel_size_um(&picture(1.0), &named), Some(1.0));
        assert_eq!(pixel_size_um(&picture(1.0).with("bCalibrated", false), &named), None);
    }

    #[test]
    fn the_date_follows_from_the_julian_day() {
        // noon of 2000-01-01 is Julian day 2451545 by definition
        let dates = [2_451_545.0, 2_460_761.248_810_66, 2_440_587.5].map(utc_from_julian_day);
        let expected = ["2000-01-01T12:00:00Z", "2025-03-26T17:58:17Z", "1970-01-01T00:00:00Z"];
        assert_eq!(dates.map(Option::unwrap), expected);
        assert_eq!(utc_from_julian_day(-1.0), None);
        // a leap day, and every day of four centuries once
        assert_eq!(utc_from_julian_day(2_460_369.5).as_deref(), Some("2024-02-29T00:00:00Z"));
        let days: std::collections::BTreeSet<_> =
            (0..109_000).filter_map(|day| utc_from_julian_day(2_415_021.0 + f64::from(day))).collect();
        assert_eq!(days.len(), 109_000);
    }

    fn attributes(n_components: u32) -> Attributes {
        let level = Level::default()
            .with("uiWidth", 4_u32)
            .with("uiHeight", 4_u32)
            .with("uiComp", n_components)
            .with("uiBpcInMemory", 8_u32);
        Attributes::parse(&level, &Limits::default()).unwrap()
    }

    fn layout(planes: &[(&str, u32)], n_components: u32) -> Vec<(String, u32, u32)> {
        let plane = |n: u32, name: &str| Level::default().with("uiCompCount", n).with("sDescription", name);
        let planes: Level =
            planes.iter().map(|(key, n)| ((*key).to_owned(), plane(*n, key).into())).collect();
        let picture = Level::default().with("sPicturePlanes", Level::default().with("sPlaneNew", planes));
        let layouts = channels(&picture, &attributes(n_components));
        layouts.into_iter().map(|own| (own.channel.name, own.first_component, own.n_samples)).collect()
    }

    #[test]
    fn components_become_channels() {
        let own = |name: &str, first, n| (name.to_owned(), first, n);
        assert_eq!(layout(&[("a0", 3)], 3), [own("a0", 0, 3)]);
        assert_eq!(layout(&[("a0", 3), ("a1", 1)], 4), [own("a0", 0, 3), own("a1", 3, 1)]);
        // by number, not by text
        assert_eq!(layout(&[("a10", 1), ("a2", 1)], 2), [own("a2", 0, 1), own("a10", 1, 1)]);
        // planes that do not explain the components
        assert_eq!(layout(&[("a0", 1)], 3), [own("a0", 0, 3)]);
        assert_eq!(layout(&[("a0", 1), ("a1", 5)], 3), [own("a0", 0, 1), own("a1", 1, 1), own("", 2, 1)]);
        assert_eq!(layout(&[], 2), [own("", 0, 1), own("", 1, 1)]);
    }

    #[test]
    fn emission_is_where_the_spectrum_is_highest() {
        let point = |nm: f64, height: f64| Level::default().with("dWavelength", nm).with("dTValue", height);
        let points = Level::default().with("Point0", point(500.0, 0.2)).with("Point1", point(525.0, 0.9));
        let spectrum = Level::default().with("pPoint", points);
        let filter = Level::default().with("m_EmissionSpectrum", spectrum);
        let path = Level::default().with("m_pFilter", Level::default().with("", filter));
        let plane = Level::default().with("pFilterPath", path).with("uiColor", 16_724_736_u32);
        let own = channel(&plane, 1);
        assert_eq!((own.emission_nm, own.color_rgb), (Some(525.0), Some([0, 51, 255])));
        assert_eq!(channel(&plane, 3).emission_nm, None);
    }
}
