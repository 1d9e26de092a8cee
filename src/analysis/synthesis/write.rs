//! From planned files to bytes, and what is true of them.

use std::io::{Seek, SeekFrom, Write};

use sha2::{Digest, Sha256};

use crate::formats::nd2::{Nd2Compression, Nd2Loop, Nd2Objective, Nd2Spec, Nd2Writer};
use crate::formats::tiff::{
    OmePlane, OmeSpec, OmeTiffWriter, Predictor, TiffWriter, WriteCompression, WriteOptions,
};
use crate::formats::{Format, FormatError, Plane, Position};
use crate::units::SampleType;

use super::acquisition::Acquisition;
use super::camera::Camera;
use super::plan::{Container, Damage, PERIOD_MS, PlannedFile, PlannedPlane, Z_STEP_UM};
use super::truth::{Condition, GrowingFile, TrueFile, TruePlane, Truth};

/// Draws and writes the files of an acquisition, each by itself, in any order.
#[derive(Debug, Clone)]
pub struct Studio {
    plan: Acquisition,
    camera: Camera,
}

/// What was written into one file.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// What is true of it.
    pub truth: TrueFile,
    /// Bytes of the file after each frame, where it is an ND2; none else.
    pub n_bytes_after_frame: Vec<u64>,
}

impl Studio {
    /// Sets the camera up.
    pub fn new(plan: Acquisition) -> Self {
        let camera = Camera::new(plan.settings.side_px, plan.camera_seed());
        Self { plan, camera }
    }

    /// The plan that is carried out.
    pub fn plan(&self) -> &Acquisition {
        &self.plan
    }

    /// Writes one file into an empty `out`; `on_plane` is called after each of its planes.
    ///
    /// # Errors
    /// Whatever `out` says, or `over_limit` for a TIFF above 4 GiB.
    pub fn write<W: Write + Seek>(
        &self,
        file: usize,
        out: &mut W,
        mut on_plane: impl FnMut(),
    ) -> Result<Written, FormatError> {
        let planned = &self.plan.files[file];
        let mut session = Session { studio: self, planned, truths: Vec::new(), on_plane: &mut on_plane };
        let mut n_bytes_after_frame = Vec::new();
        match planned.container {
            Container::Nd2 | Container::Nd2Packed => n_bytes_after_frame = session.nd2(&mut *out)?,
            Container::Tiff | Container::TiffPacked => session.tiff(&mut *out)?,
            Container::OmeTiff | Container::OmeTiffPacked => session.ome_tiff(&mut *out)?,
        }
        let mut planes = session.truths;
        let is_tiff = planned.container.format() == Format::Tiff;
        if spoil(out, planned.damage, is_tiff)? {
            planes.clear();
        }
        Ok(Written { truth: true_file(planned, planes), n_bytes_after_frame })
    }

    /// What is known before anything is drawn: all but planes and the lengths of files.
    pub fn outline(&self) -> Truth {
        let file =
            |planned| Written { truth: true_file(planned, Vec::new()), n_bytes_after_frame: Vec::new() };
        self.truth(self.plan.files.iter().map(file).collect())
    }

    /// The truth of the whole acquisition, from what was written into each file, in the order of the plan.
    pub fn truth(&self, written: Vec<Written>) -> Truth {
        let growing = self.plan.growing.map(|(growing, sibling)| GrowingFile {
            file: self.plan.path(growing).to_owned(),
            sibling: self.plan.path(sibling).to_owned(),
            n_planes_per_frame: self.plan.files[growing].dims().c,
            n_bytes_after_frame: written[growing].n_bytes_after_frame.clone(),
        });
        Truth {
            schema: 1,
            made_by: Truth::MADE_BY.to_owned(),
            seed: self.plan.settings.seed,
            files: written.into_iter().map(|written| written.truth).collect(),
            relations: self.plan.relations.clone(),
            registrations: self.plan.registrations.clone(),
            growing,
        }
    }
}

/// One file while it is written.
struct Session<'s> {
    studio: &'s Studio,
    planned: &'s PlannedFile,
    truths: Vec<TruePlane>,
    on_plane: &'s mut dyn FnMut(),
}

impl Session<'_> {
    /// Draws a plane and notes its truth.
    fn draw(&mut self, planned: &PlannedPlane) -> Plane {
        let plane = planned.shot.draw(&self.studio.camera);
        let nuclei = planned.shot.nuclei_px();
        self.truths.push(TruePlane {
            plane: planned.index,
            sha256: sha256(&plane),
            channel: super::plan::channel(planned.shot.view.channel).name,
            time_ms: planned.time_ms,
            z_um: planned.z_um,
            is_blank: planned.shot.scene.cells.is_empty(),
            plate_um_from_px: planned.shot.plate_um_from_px(),
            n_nuclei: nuclei.len(),
            nuclei: if self.studio.plan.settings.lists_nuclei { nuclei } else { Vec::new() },
        });
        (self.on_plane)();
        plane
    }

    fn nd2(&mut self, out: impl Write) -> Result<Vec<u64>, FormatError> {
        let spec = nd2_spec(self.planned);
        let n_channels = spec.channels.len();
        let mut writer = Nd2Writer::new(out, spec)?;
        let mut ends = Vec::new();
        for frame in self.planned.planes.chunks(n_channels) {
            let planes: Vec<_> = frame.iter().map(|plane| self.draw(plane)).collect();
            writer.write_frame(&planes)?;
            ends.push(writer.n_bytes_written());
        }
        writer.finish()?;
        Ok(ends)
    }

    fn tiff(&mut self, out: impl Write + Seek) -> Result<(), FormatError> {
        let is_packed = self.planned.container == Container::TiffPacked;
        let objective = &self.planned.first().shot.view.objective;
        let options = WriteOptions {
            compression: if is_packed { WriteCompression::Deflate } else { WriteCompression::None },
            predictor: if is_packed { Predictor::Horizontal } else { Predictor::None },
            pixel_size_um: Some(objective.pixel_size_um()),
            description: is_packed.then(|| "saved again".to_owned()),
            date_time: Some(self.planned.acquired_at.replace('-', ":").replace('T', " ")),
            ..WriteOptions::default()
        };
        let plane = self.draw(self.planned.first());
        let mut writer = TiffWriter::new(out, options)?;
        writer.write_plane(&plane)?;
        writer.finish()?;
        Ok(())
    }

    fn ome_tiff(&mut self, out: impl Write + Seek) -> Result<(), FormatError> {
        let is_packed = self.planned.container == Container::OmeTiffPacked;
        let options = WriteOptions {
            compression: if is_packed { WriteCompression::Deflate } else { WriteCompression::None },
            ..WriteOptions::default()
        };
        let mut writer = OmeTiffWriter::new(out, ome_spec(self.planned), options)?;
        for planned in &self.planned.planes {
            let plane = self.draw(planned);
            writer.write_plane(&plane)?;
        }
        writer.finish()?;
        Ok(())
    }
}

fn sample_type(planned: &PlannedFile) -> SampleType {
    if planned.is_8_bit() { SampleType::Uint8 } else { SampleType::Uint16 }
}

fn objective(planned: &PlannedFile) -> Nd2Objective {
    let objective = &planned.first().shot.view.objective;
    Nd2Objective {
        name: objective.name.to_owned(),
        magnification: Some(objective.magnification),
        numerical_aperture: Some(objective.numerical_aperture),
    }
}

fn stage(planned: &PlannedFile) -> Position {
    let [x_um, y_um] = planned.stage_um();
    let z_um = planned.first().z_um;
    Position { name: planned.well.clone(), x_um: Some(x_um), y_um: Some(y_um), z_um: Some(z_um) }
}

fn nd2_spec(planned: &PlannedFile) -> Nd2Spec {
    let dims = planned.dims();
    let mut loops = Vec::new();
    if dims.t > 1 {
        loops.push(Nd2Loop::Time { n: dims.t, period_ms: PERIOD_MS });
    }
    if dims.z > 1 {
        loops.push(Nd2Loop::ZStack { n: dims.z, step_um: Z_STEP_UM });
    }
    let is_packed = planned.container == Container::Nd2Packed;
    Nd2Spec {
        channels: planned.channels().into_iter().map(|channel| (channel, 1)).collect(),
        loops,
        pixel_size_um: Some(planned.first().shot.view.objective.pixel_size_um()),
        objective: Some(objective(planned)),
        stage: stage(planned),
        acquired_at: Some(planned.acquired_at.clone()),
        compression: if is_packed { Nd2Compression::Zlib(6) } else { Nd2Compression::None },
        ..Nd2Spec::new(dims.y, dims.x, sample_type(planned))
    }
}

fn ome_spec(planned: &PlannedFile) -> OmeSpec {
    let Nd2Objective { name, magnification, numerical_aperture } = objective(planned);
    let position = stage(planned);
    let planes = planned.planes.iter().map(|plane| OmePlane {
        index: plane.index,
        time_ms: plane.time_ms,
        z_um: Some(plane.z_um),
    });
    OmeSpec {
        dims: planned.dims(),
        sample_type: sample_type(planned),
        channels: planned.channels(),
        pixel_size_um: Some(planned.first().shot.view.objective.pixel_size_um()),
        z_step_um: Some(Z_STEP_UM),
        objective_name: name,
        magnification,
        numerical_aperture,
        position,
        acquired_at: planned.acquired_at.clone(),
        planes: planes.collect(),
    }
}

fn true_file(planned: &PlannedFile, planes: Vec<TruePlane>) -> TrueFile {
    let is_whole = planned.damage == Damage::None;
    TrueFile {
        file: planned.path.clone(),
        format: planned.container.format(),
        condition: if is_whole { Condition::Whole } else { Condition::Rejected },
        well: planned.well.clone(),
        dims: planned.dims(),
        dtype: sample_type(planned).name().to_owned(),
        pixel_size_um: Some(planned.first().shot.view.objective.pixel_size_um()),
        magnification: planned.first().shot.view.objective.magnification,
        stage_um: (!planned.container.is_plain_tiff()).then(|| planned.stage_um()),
        planes,
    }
}

/// Damages a written file; whether nothing of it can be read any more.
fn spoil<W: Write + Seek>(out: &mut W, damage: Damage, is_tiff: bool) -> Result<bool, FormatError> {
    let length = out.seek(SeekFrom::End(0))?;
    let (start, end) = match damage {
        Damage::None => return Ok(false),
        // the start of the compressed pixels: a TIFF has them behind its header, an ND2 behind its metadata
        Damage::Pixels if is_tiff => (8, length / 4),
        Damage::Pixels => (length / 4, length / 2),
        Damage::NoImage => (0, length),
    };
    out.seek(SeekFrom::Start(start))?;
    let words = b"these bytes are no image ".iter().copied().cycle();
    let bytes: Vec<u8> = words.take((end - start) as usize).collect();
    out.write_all(&bytes)?;
    Ok(true)
}

fn sha256(plane: &Plane) -> String {
    let mut digest = Sha256::new();
    plane.for_each_little_endian_bytes(|bytes| digest.update(bytes));
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
