//! OME-XML: a tolerant pull parser for the few elements that planes need; whatever is unknown or broken is passed by.

use std::collections::{HashMap, HashSet};

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::imagej::um_per_unit;
use crate::formats::{Channel, FormatError, Limits, PlaneDetails};

/// What an OME-XML text says of one file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Ome {
    /// The file's own identity, to tell its planes from those of a sibling.
    pub(super) uuid: Option<String>,
    pub(super) images: Vec<Image>,
    objectives: HashMap<String, Objective>,
}

/// An objective as the instrument lists it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Objective {
    pub(super) name: Option<String>,
    pub(super) magnification: Option<f64>,
    pub(super) numerical_aperture: Option<f64>,
}

/// One image: a stack of planes over time, focus and channels.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Image {
    pub(super) name: String,
    pub(super) acquired_at: Option<String>,
    pub(super) stage_label: Option<String>,
    objective_id: Option<String>,
    /// Such as `XYCZT`, the fastest axis first.
    pub(super) dimension_order: String,
    pub(super) size_x: u64,
    pub(super) size_y: u64,
    pub(super) size_z: u64,
    pub(super) size_c: u64,
    pub(super) size_t: u64,
    pub(super) significant_bits: Option<u32>,
    pub(super) pixel_size_um: Option<f64>,
    pub(super) z_step_um: Option<f64>,
    pub(super) channels: Vec<Channel>,
    /// Samples per pixel of the first channel.
    pub(super) channel_samples: u64,
    pub(super) tiff_data: Vec<TiffData>,
    pub(super) planes: Vec<PlaneData>,
}

/// Which directories hold which planes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct TiffData {
    pub(super) ifd: Option<u64>,
    pub(super) plane_count: Option<u64>,
    pub(super) first_t: u64,
    pub(super) first_z: u64,
    pub(super) first_c: u64,
    /// The file that holds them, if said.
    pub(super) uuid: Option<String>,
    pub(super) file_name: Option<String>,
}

/// Where and when one plane was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct PlaneData {
    pub(super) t: u64,
    pub(super) z: u64,
    pub(super) c: u64,
    pub(super) x_um: Option<f64>,
    pub(super) y_um: Option<f64>,
    pub(super) z_um: Option<f64>,
    pub(super) time_ms: Option<f64>,
}

impl PlaneData {
    pub(super) fn details(&self) -> PlaneDetails {
        let Self { x_um, y_um, z_um, time_ms, .. } = *self;
        PlaneDetails { time_ms, x_um, y_um, z_um }
    }
}

impl Ome {
    /// Whether a description looks like OME-XML.
    pub(super) fn is_ome(text: &str) -> bool {
        let head: String = text.chars().take(2000).collect();
        head.trim_start().starts_with('<') && (head.contains("<OME") || head.contains(":OME"))
    }

    /// Parses a text; what follows a syntax error is ignored.
    ///
    /// # Errors
    /// `over_limit` when elements nest deeper than `depth_max` or list more planes than `planes_max`.
    pub(super) fn parse(text: &str, limits: &Limits) -> Result<Self, FormatError> {
        let mut reader = Reader::from_str(text);
        reader.config_mut().check_end_names = false;
        let mut ome = Self::default();
        let mut path: Vec<String> = Vec::new();
        let mut n_items = 0_u64;
        while let Ok(event) = reader.read_event() {
            match event {
                Event::Start(start) => {
                    ome.element(&start);
                    path.push(start.local_name().as_ref().to_owned());
                }
                Event::Empty(start) => ome.element(&start),
                Event::End(_) => {
                    path.pop();
                }
                Event::Text(text) => ome.text(&path, text.xml10_content().trim()),
                Event::Eof => break,
                _ => continue,
            }
            n_items += 1;
            if path.len() > limits.depth_max as usize || n_items > limits.planes_max.saturating_mul(16) {
                return Err(FormatError::over_limit(
                    "OME-XML nests deeper than depth_max or lists more than planes_max planes",
                ));
            }
        }
        Ok(ome)
    }

    /// Names of the other files that hold planes of the set, each once, in the order in which they are mentioned.
    pub(super) fn other_files(&self) -> Vec<String> {
        let blocks = self.images.iter().flat_map(|image| &image.tiff_data);
        let mut seen = HashSet::new();
        let foreign =
            blocks.filter(|block| self.uuid.is_some() && block.uuid.is_some() && block.uuid != self.uuid);
        foreign.filter_map(|block| block.file_name.clone()).filter(|name| seen.insert(name.clone())).collect()
    }

    /// The objective that took an image.
    pub(super) fn objective_of(&self, image: &Image) -> Option<&Objective> {
        self.objectives.get(image.objective_id.as_ref()?)
    }

    fn element(&mut self, start: &BytesStart) {
        let attributes = Attributes::of(start);
        match (start.local_name().as_ref(), self.images.last_mut()) {
            ("OME", _) => self.uuid = attributes.text("UUID"),
            ("Objective", _) => {
                let objective = Objective {
                    name: attributes.text("Model"),
                    magnification: attributes.number("NominalMagnification"),
                    numerical_aperture: attributes.number("LensNA"),
                };
                self.objectives.insert(attributes.text("ID").unwrap_or_default(), objective);
            }
            ("Image", _) => self.images.push(Image {
                name: attributes.text("Name").unwrap_or_default(),
                dimension_order: "XYZCT".into(),
                channel_samples: 1,
                ..Image::default()
            }),
            (name, Some(image)) => image.element(name, &attributes),
            _ => {}
        }
    }

    fn text(&mut self, path: &[String], text: &str) {
        let Some(image) = self.images.last_mut() else { return };
        match path.last().map(String::as_str) {
            Some("UUID") if path.iter().any(|name| name == "TiffData") => {
                if let Some(data) = image.tiff_data.last_mut() {
                    data.uuid = Some(text.to_owned());
                }
            }
            Some("AcquisitionDate" | "AcquiredDate") => image.acquired_at = Some(text.to_owned()),
            _ => {}
        }
    }
}

impl Image {
    /// Channels as planes count them: an RGB channel is one.
    pub(super) fn n_channels(&self) -> u64 {
        (self.size_c / self.channel_samples.max(1)).max(1)
    }

    fn element(&mut self, name: &str, attributes: &Attributes) {
        match name {
            "ObjectiveSettings" => self.objective_id = attributes.text("ID"),
            "StageLabel" => self.stage_label = attributes.text("Name"),
            "Pixels" => self.pixels(attributes),
            "Channel" => {
                let samples = attributes.count("SamplesPerPixel").unwrap_or(1).max(1);
                if self.channels.is_empty() {
                    self.channel_samples = samples;
                }
                self.channels.push(Channel {
                    name: attributes.text("Name").unwrap_or_default(),
                    color_rgb: attributes.number("Color").map(color),
                    emission_nm: attributes
                        .length_um("EmissionWavelength", "nm")
                        .map(|um| um * 1e3)
                        .filter(|nm| *nm > 0.0),
                });
            }
            "TiffData" => self.tiff_data.push(TiffData {
                ifd: attributes.count("IFD"),
                plane_count: attributes.count("PlaneCount").or_else(|| attributes.count("NumPlanes")),
                first_t: attributes.count("FirstT").unwrap_or(0),
                first_z: attributes.count("FirstZ").unwrap_or(0),
                first_c: attributes.count("FirstC").unwrap_or(0),
                uuid: None,
                file_name: None,
            }),
            "UUID" => {
                if let Some(data) = self.tiff_data.last_mut() {
                    data.file_name = attributes.text("FileName");
                }
            }
            "Plane" => self.planes.push(PlaneData {
                t: attributes.count("TheT").unwrap_or(0),
                z: attributes.count("TheZ").unwrap_or(0),
                c: attributes.count("TheC").unwrap_or(0),
                x_um: attributes.length_um("PositionX", "µm"),
                y_um: attributes.length_um("PositionY", "µm"),
                z_um: attributes.length_um("PositionZ", "µm"),
                time_ms: attributes.time_ms("DeltaT"),
            }),
            _ => {}
        }
    }

    fn pixels(&mut self, attributes: &Attributes) {
        let size = |name| attributes.count(name).unwrap_or(1).max(1);
        self.dimension_order = attributes.text("DimensionOrder").unwrap_or_else(|| "XYZCT".into());
        (self.size_x, self.size_y) = (size("SizeX"), size("SizeY"));
        (self.size_z, self.size_c, self.size_t) = (size("SizeZ"), size("SizeC"), size("SizeT"));
        self.significant_bits = attributes.count("SignificantBits").and_then(|bits| u32::try_from(bits).ok());
        self.pixel_size_um = attributes.length_um("PhysicalSizeX", "µm").filter(|um| *um > 0.0);
        self.z_step_um = attributes.length_um("PhysicalSizeZ", "µm").filter(|um| *um > 0.0);
    }
}

/// A signed 32-bit RGBA number.
fn color(value: f64) -> [u8; 3] {
    let [red, green, blue, _alpha] = (value as i64 as u32).to_be_bytes();
    [red, green, blue]
}

/// The attributes of one element that are well-formed.
struct Attributes(Vec<(String, String)>);

impl Attributes {
    fn of(start: &BytesStart) -> Self {
        let mut attributes = start.attributes();
        let pairs = attributes.with_checks(false).flatten().map(|attribute| {
            let raw = || attribute.value.to_string();
            let value = attribute.normalized_value(XmlVersion::Explicit1_0);
            let value = value.map_or_else(|_| raw(), |value| value.into_owned());
            (attribute.key.local_name().as_ref().to_owned(), value)
        });
        Self(pairs.collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.trim())
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.get(name)?.parse().ok().filter(|value: &f64| value.is_finite())
    }

    fn count(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// A length with its unit beside it; `None` for units that are no lengths, such as `reference frame`.
    fn length_um(&self, name: &str, default_unit: &str) -> Option<f64> {
        let unit = self.get(&format!("{name}Unit")).unwrap_or(default_unit);
        Some(self.number(name)? * um_per_unit(unit)?)
    }

    fn time_ms(&self, name: &str) -> Option<f64> {
        let ms_per_unit = match self.get(&format!("{name}Unit")).unwrap_or("s") {
            "s" => 1e3,
            "ms" => 1.0,
            "µs" | "us" => 1e-3,
            "min" => 6e4,
            "h" => 3.6e6,
            _ => return None,
        };
        Some(self.number(name)? * ms_per_unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:own">
 <Instrument ID="Instrument:0"><Objective ID="Objective:1" Model="Plan Apo 40x" NominalMagnification="40" LensNA="0.95"/></Instrument>
 <Image ID="Image:0" Name="field &amp; well"><AcquisitionDate>2025-05-06T12:41:44</AcquisitionDate>
  <ObjectiveSettings ID="Objective:1"/><StageLabel Name="B02"/>
  <Pixels DimensionOrder="XYCZT" SizeX="4" SizeY="3" SizeZ="1" SizeC="2" SizeT="1" Type="uint16" SignificantBits="12"
   PhysicalSizeX="162.5" PhysicalSizeXUnit="nm" PhysicalSizeZ="2">
   <Channel ID="Channel:0:0" Name="DAPI" Color="65535" EmissionWavelength="461"/><Channel ID="Channel:0:1" Name="FITC, wide"/>
   <TiffData IFD="0" FirstC="0" PlaneCount="1"><UUID FileName="a.tif">urn:uuid:own</UUID></TiffData>
   <TiffData IFD="1" FirstC="1" PlaneCount="1"><UUID FileName="b.tif">urn:uuid:other</UUID></TiffData>
   <Plane TheT="0" TheZ="0" TheC="0" DeltaT="1.5" PositionX="0.5" PositionXUnit="mm" PositionY="7" PositionYUnit="reference frame"/>
  </Pixels></Image></OME>"#;

    #[test]
    fn reads_what_planes_need() {
        let ome = Ome::parse(TEXT, &Limits::default()).unwrap();
        let image = &ome.images[0];
        assert_eq!(image.name, "field & well");
        assert_eq!(ome.objective_of(image).unwrap().magnification, Some(40.0));
        assert_eq!((image.n_channels(), image.significant_bits), (2, Some(12)));
        assert!((image.pixel_size_um.unwrap() - 0.1625).abs() < 1e-12);
        assert_eq!(image.channels[0].color_rgb, Some([0, 0, 255]));
        assert!((image.channels[0].emission_nm.unwrap() - 461.0).abs() < 1e-9);
        assert_eq!(image.channels[1].name, "FITC, wide");
        assert_eq!(image.tiff_data[1].uuid.as_deref(), Some("urn:uuid:other"));
        assert_eq!(ome.uuid.as_deref(), Some("urn:uuid:own"));
        assert_eq!(ome.other_files(), ["b.tif"]);
        let plane = image.planes[0];
        assert_eq!((plane.x_um, plane.y_um, plane.time_ms), (Some(500.0), None, Some(1500.0)));
        assert_eq!(image.acquired_at.as_deref(), Some("2025-05-06T12:41:44"));
    }

    #[test]
    fn keeps_what_precedes_a_syntax_error() {
        let cut = &TEXT[..TEXT.find("<TiffData IFD=\"1\"").unwrap() + 12];
        let ome = Ome::parse(cut, &Limits::default()).unwrap();
        assert_eq!((ome.images.len(), ome.images[0].tiff_data.len()), (1, 1));
    }

    #[test]
    fn refuses_nesting_without_end() {
        let deep = "<a>".repeat(100);
        let limits = Limits::default();
        assert!(Ome::parse(&deep, &limits).is_err());
        let any = [
            "<OME",
            "<OME UUID=",
            "<OME><Image><Pixels SizeX='-1' SizeT='99999999999999999999'/>",
            "<>&;<",
            "",
        ];
        any.iter().for_each(|text| drop(Ome::parse(text, &limits)));
    }
}
