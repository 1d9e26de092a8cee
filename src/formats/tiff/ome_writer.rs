//! Writes OME-TIFF: the pages of one image over time, focus and channels, with OME-XML in the first page.
//!
//! # References
//! Schema 2016-06, <https://www.openmicroscopy.org/Schemas/OME/2016-06/>.

use std::fmt::Write as _;
use std::io::{Seek, Write};

use quick_xml::escape::escape;

use super::writer::{TiffWriter, WriteOptions};
use crate::formats::{Channel, Dims, FormatError, Plane, Position};
use crate::units::{PlaneIndex, SampleType};

/// What an OME-TIFF holds beside its pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct OmeSpec {
    /// Lengths of the axes; one position, one sample per pixel.
    pub dims: Dims,
    /// Type of the samples.
    pub sample_type: SampleType,
    /// The channels, `dims.c` of them.
    pub channels: Vec<Channel>,
    /// Side of a pixel in micrometres.
    pub pixel_size_um: Option<f64>,
    /// Distance of focus steps in micrometres.
    pub z_step_um: Option<f64>,
    /// The objective's name.
    pub objective_name: String,
    /// Magnification printed on the objective.
    pub magnification: Option<f64>,
    /// Numerical aperture of the objective.
    pub numerical_aperture: Option<f64>,
    /// Name and place of the stage position.
    pub position: Position,
    /// Start of the acquisition, such as `2026-01-05T10:00:00`.
    pub acquired_at: String,
    /// The planes, in the order in which they are written: time outermost, then focus, then channels.
    pub planes: Vec<OmePlane>,
}

/// When and at which height a plane was exposed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OmePlane {
    /// Which plane.
    pub index: PlaneIndex,
    /// Milliseconds after the start.
    pub time_ms: f64,
    /// Height in micrometres.
    pub z_um: Option<f64>,
}

/// Writes one OME-TIFF, plane by plane in the order of its spec.
pub struct OmeTiffWriter<W> {
    pages: TiffWriter<W>,
    shape: (usize, usize, SampleType),
    n_left: usize,
}

impl<W: Write + Seek> OmeTiffWriter<W> {
    /// Writes the header. Pixel size and description of `options` are replaced by those of the spec.
    ///
    /// # Errors
    /// `io`, or `malformed` when the planes of the spec are not all those that its axes ask for, in their order, or
    /// OME-XML has no name for the samples.
    pub fn new(out: W, spec: OmeSpec, options: WriteOptions) -> Result<Self, FormatError> {
        let Dims { t, p, z, c, y, x, s } = spec.dims;
        let all =
            (0..t).flat_map(|t| (0..z).flat_map(move |z| (0..c).map(move |c| PlaneIndex { t, p: 0, z, c })));
        if (p, s) != (1, 1) || !all.eq(spec.planes.iter().map(|plane| plane.index)) {
            return Err(FormatError::malformed(
                "expected the planes of one position: time outermost, then focus, then channels",
            ));
        }
        if spec.channels.len() != c as usize {
            return Err(FormatError::malformed(format!(
                "expected {c} channels, found {}",
                spec.channels.len()
            )));
        }
        let total =
            spec.planes.len() as u64 * u64::from(y) * u64::from(x) * spec.sample_type.size_bytes() as u64;
        let options = WriteOptions {
            pixel_size_um: spec.pixel_size_um,
            description: Some(ome_xml(&spec)?),
            big_tiff: options.big_tiff || total > u64::from(u32::MAX) - (64 << 20),
            ..options
        };
        let shape = (y as usize, x as usize, spec.sample_type);
        Ok(Self { pages: TiffWriter::new(out, options)?, shape, n_left: spec.planes.len() })
    }

    /// Writes the next plane.
    ///
    /// # Errors
    /// As [`TiffWriter::write_plane`], and `malformed` for a plane that the spec does not foresee.
    pub fn write_plane(&mut self, plane: &Plane) -> Result<(), FormatError> {
        if self.n_left == 0 || self.shape != (plane.height, plane.width, plane.samples.sample_type()) {
            return Err(FormatError::malformed(
                "expected a plane of the shape and the number of the OME-XML",
            ));
        }
        self.pages.write_plane(plane)?;
        self.n_left -= 1;
        Ok(())
    }

    /// Ends the file and hands the sink back.
    ///
    /// # Errors
    /// `io`, or `malformed` when planes are missing.
    pub fn finish(self) -> Result<W, FormatError> {
        if self.n_left > 0 {
            return Err(FormatError::malformed(format!("expected {} more planes", self.n_left)));
        }
        self.pages.finish()
    }
}

/// The name that OME gives a type.
fn type_name(sample_type: SampleType) -> Result<&'static str, FormatError> {
    Ok(match sample_type {
        SampleType::Float32 => "float",
        SampleType::Float64 => "double",
        SampleType::Float16 | SampleType::Uint64 | SampleType::Int64 => {
            return Err(FormatError::unsupported(format!("OME-XML has no name for {sample_type}")));
        }
        integer => integer.name(),
    })
}

/// The description of the first page. Units are written as character references: the tag is ASCII.
fn ome_xml(spec: &OmeSpec) -> Result<String, FormatError> {
    let Dims { t, z, c, y, x, .. } = spec.dims;
    let mut xml = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<OME xmlns=\"http://www.openmicroscopy.org/Schemas/OME/2016-06\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:schemaLocation=\
         \"http://www.openmicroscopy.org/Schemas/OME/2016-06 http://www.openmicroscopy.org/Schemas/OME/2016-06/ome.xsd\">",
    );
    let optional =
        |name: &str, value: Option<f64>| value.map_or(String::new(), |value| format!(" {name}=\"{value}\""));
    let position = &spec.position;
    let _ = write!(
        xml,
        "<Instrument ID=\"Instrument:0\"><Objective ID=\"Objective:0\" Model=\"{}\"{}{}/></Instrument>\
         <Image ID=\"Image:0\" Name=\"{name}\"><AcquisitionDate>{}</AcquisitionDate>\
         <InstrumentRef ID=\"Instrument:0\"/><ObjectiveSettings ID=\"Objective:0\"/><StageLabel Name=\"{name}\"/>\
         <Pixels ID=\"Pixels:0\" DimensionOrder=\"XYCZT\" Type=\"{}\" SignificantBits=\"{}\" BigEndian=\"false\" \
         SizeX=\"{x}\" SizeY=\"{y}\" SizeZ=\"{z}\" SizeC=\"{c}\" SizeT=\"{t}\"{}{}{}>",
        escape(&spec.objective_name),
        optional("LensNA", spec.numerical_aperture),
        optional("NominalMagnification", spec.magnification),
        escape(&spec.acquired_at),
        type_name(spec.sample_type)?,
        8 * spec.sample_type.size_bytes(),
        optional("PhysicalSizeX", spec.pixel_size_um),
        optional("PhysicalSizeY", spec.pixel_size_um),
        optional("PhysicalSizeZ", spec.z_step_um.filter(|_| z > 1)),
        name = escape(&position.name),
    );
    for (index, channel) in spec.channels.iter().enumerate() {
        let color = channel.color_rgb.map_or(String::new(), |[red, green, blue]| {
            format!(" Color=\"{}\"", i32::from_be_bytes([red, green, blue, 255]))
        });
        let emission = optional("EmissionWavelength", channel.emission_nm);
        let name = escape(&channel.name);
        let _ = write!(
            xml,
            "<Channel ID=\"Channel:0:{index}\" Name=\"{name}\" SamplesPerPixel=\"1\"{color}{emission}/>"
        );
    }
    for (ifd, OmePlane { index, .. }) in spec.planes.iter().enumerate() {
        let PlaneIndex { t, z, c, .. } = index;
        let _ = write!(
            xml,
            "<TiffData IFD=\"{ifd}\" FirstT=\"{t}\" FirstZ=\"{z}\" FirstC=\"{c}\" PlaneCount=\"1\"/>"
        );
    }
    for OmePlane { index: PlaneIndex { t, z, c, .. }, time_ms, z_um } in &spec.planes {
        let _ = write!(
            xml,
            "<Plane TheT=\"{t}\" TheZ=\"{z}\" TheC=\"{c}\" DeltaT=\"{time_ms}\" DeltaTUnit=\"ms\"{}{}{}/>",
            place('X', position.x_um),
            place('Y', position.y_um),
            place('Z', *z_um),
        );
    }
    xml += "</Pixels></Image></OME>";
    Ok(xml)
}

fn place(axis: char, um: Option<f64>) -> String {
    um.map_or(String::new(), |um| format!(" Position{axis}=\"{um}\" Position{axis}Unit=\"&#181;m\""))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::formats::{Limits, Samples, open};

    fn plane(value: u16) -> Plane {
        Plane { height: 2, width: 3, n_samples: 1, samples: Samples::Uint16(vec![value; 6]) }
    }

    fn spec() -> OmeSpec {
        let channel =
            |name: &str, color_rgb| Channel { name: name.into(), color_rgb, emission_nm: Some(461.0) };
        let index = |t, z, c| PlaneIndex { t, p: 0, z, c };
        let indices = (0..2).flat_map(|t| (0..2).flat_map(move |z| (0..2).map(move |c| index(t, z, c))));
        OmeSpec {
            dims: Dims { t: 2, p: 1, z: 2, c: 2, y: 2, x: 3, s: 1 },
            sample_type: SampleType::Uint16,
            channels: vec![channel("DAPI", Some([0, 0, 255])), channel("a <b> & \"c\"", None)],
            pixel_size_um: Some(0.1625),
            z_step_um: Some(2.0),
            objective_name: "Plan Apo 40x".into(),
            magnification: Some(40.0),
            numerical_aperture: Some(0.95),
            position: Position { name: "B02".into(), x_um: Some(9000.5), y_um: Some(-3.25), z_um: None },
            acquired_at: "2026-01-05T10:00:00".into(),
            planes: indices
                .map(|index| OmePlane { index, time_ms: 1500.0 * f64::from(index.t), z_um: Some(1.0) })
                .collect(),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut writer =
            OmeTiffWriter::new(Cursor::new(Vec::new()), spec(), WriteOptions::default()).unwrap();
        (0..8).for_each(|value| writer.write_plane(&plane(value)).unwrap());
        let bytes = writer.finish().unwrap().into_inner();
        let mut container = open(Box::new(Cursor::new(bytes)), &Limits::default()).unwrap();
        let metadata = container.metadata().clone();
        let spec = spec();
        assert_eq!(metadata.dims, spec.dims);
        assert_eq!(metadata.channels, spec.channels);
        assert_eq!((metadata.pixel_size_um, metadata.z_step_um), (spec.pixel_size_um, spec.z_step_um));
        assert_eq!(metadata.nominal_magnification, Some(40.0));
        assert_eq!(metadata.objective.as_deref(), Some("Plan Apo 40x"));
        let position = &metadata.positions[0];
        assert_eq!((position.x_um, position.y_um, position.z_um), (Some(9000.5), Some(-3.25), Some(1.0)));
        let entries = container.planes().to_vec();
        assert_eq!(entries.len(), 8);
        for (number, entry) in entries.iter().enumerate() {
            assert_eq!(entry.time_ms, Some(1500.0 * f64::from(entry.index.t)));
            let PlaneIndex { t, z, c, .. } = entry.index;
            assert_eq!(container.read_plane(number).unwrap(), plane((4 * t + 2 * z + c) as u16));
        }
    }

    #[test]
    fn planes_that_the_spec_does_not_foresee_are_refused() {
        let new = |spec| OmeTiffWriter::new(Cursor::new(Vec::new()), spec, WriteOptions::default());
        let mut writer = new(spec()).unwrap();
        let other = Plane { width: 2, samples: Samples::Uint16(vec![0; 4]), ..plane(0) };
        assert!(writer.write_plane(&other).is_err());
        assert!(writer.finish().is_err(), "planes are missing");
        let mut turned = spec();
        turned.planes.swap(0, 1);
        assert!(new(turned).is_err());
        assert!(new(OmeSpec { channels: Vec::new(), ..spec() }).is_err());
        assert!(new(OmeSpec { sample_type: SampleType::Uint64, ..spec() }).is_err());
    }
}
