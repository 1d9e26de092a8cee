//! The metadata trees that the writer puts into its chunks, with the names that NIS-Elements uses.

use super::{Nd2Compression, Nd2Loop, Nd2Objective, Nd2Spec};
use crate::formats::nd2::value::{Level, Value};
use crate::formats::{Channel, Position};
use crate::units::SampleType;

/// `eCompression` of zlib frames and of plain ones.
const COMPRESSION_LOSSLESS: i32 = 0;
const COMPRESSION_NONE: i32 = 2;
const PIXEL_UNSIGNED: i32 = 1;
const PIXEL_FLOAT: i32 = 2;
/// `uiModalityMask`: widefield fluorescence, bright field.
const MODALITY_FLUORESCENCE: u64 = 0x1;
const MODALITY_BRIGHTFIELD: u64 = 0x10;

pub(super) fn attributes(spec: &Nd2Spec) -> Level {
    let (compression, parameter) = match spec.compression {
        Nd2Compression::None => (COMPRESSION_NONE, 0.0),
        Nd2Compression::Zlib(level) => (COMPRESSION_LOSSLESS, f64::from(level)),
    };
    let pixel_type = if spec.sample_type == SampleType::Float32 { PIXEL_FLOAT } else { PIXEL_UNSIGNED };
    let n_components = spec.n_components() as u32;
    Level::default()
        .with("uiWidth", spec.width)
        .with("uiWidthBytes", spec.row_bytes() as u32)
        .with("uiHeight", spec.height)
        .with("uiComp", n_components)
        .with("uiBpcInMemory", 8 * spec.sample_type.size_bytes() as i32)
        .with("uiBpcSignificant", spec.significant_bits as i32)
        .with("uiSequenceCount", spec.n_frames() as u32)
        .with("uiTileWidth", spec.width)
        .with("uiTileHeight", spec.height)
        .with("eCompression", compression)
        .with("dCompressionParam", parameter)
        .with("ePixelType", pixel_type)
        .with("uiVirtualComponents", n_components)
}

/// The loops, the outermost as the root.
pub(super) fn experiment(loops: &[Nd2Loop]) -> Option<Level> {
    loops.iter().rev().fold(None, |inner, own| {
        let (loop_type, parameters) = parameters(own);
        let mut node = Level::default()
            .with("eType", loop_type)
            .with("wsApplicationDesc", "")
            .with("wsUserDesc", "")
            .with("wsCameraName", "")
            .with("uLoopPars", parameters);
        if let Nd2Loop::Positions { points, .. } = own {
            node = node.with("pItemValid", list(points.iter().map(|_| true.into())));
        }
        node = node.with("uiRepeatCount", 1_u32).with("uiNextLevelCount", u32::from(inner.is_some()));
        Some(match inner {
            Some(inner) => node.with("ppNextLevelEx", list([Value::Level(inner)])),
            None => node,
        })
    })
}

fn parameters(own: &Nd2Loop) -> (u32, Level) {
    match own {
        Nd2Loop::Time { n, period_ms } => (1, time(*n, *period_ms)),
        Nd2Loop::Positions { points, relative } => (2, positions(points, *relative)),
        Nd2Loop::ZStack { n, step_um } => {
            let high = step_um * f64::from(n.saturating_sub(1));
            let level = Level::default()
                .with("uiCount", *n)
                .with("bAbsolute", false)
                .with("bTriggeredPiezo", false)
                .with("bZInverted", false)
                .with("dReferencePosition", 0.0)
                .with("dZHigh", high)
                .with("dZHome", 0.0)
                .with("dZLow", 0.0)
                .with("dZStep", *step_um)
                .with("iType", 2)
                .with("wsZDevice", "Z");
            (4, level)
        }
        Nd2Loop::Custom { n } => (7, Level::default().with("uiCount", *n)),
        Nd2Loop::TimePhases(phases) => {
            let level = Level::default()
                .with("uiPeriodCount", phases.len() as u32)
                .with("uiCount", own.n() as u32)
                .with("pPeriod", list(phases.iter().map(|(n, period_ms)| Value::Level(time(*n, *period_ms)))))
                .with("pPeriodValid", list(phases.iter().map(|_| true.into())));
            (8, level)
        }
    }
}

fn time(n: u32, period_ms: f64) -> Level {
    Level::default()
        .with("uiCount", n)
        .with("dStart", 0.0)
        .with("dPeriod", period_ms)
        .with("dDuration", period_ms * f64::from(n.saturating_sub(1)))
        .with("dMinPeriodDiff", 0.0)
        .with("dMaxPeriodDiff", 0.0)
        .with("dAvgPeriodDiff", period_ms)
}

fn positions(points: &[Position], relative: bool) -> Level {
    let first = |coordinate: fn(&Position) -> Option<f64>| {
        points.first().filter(|_| relative).and_then(coordinate).unwrap_or(0.0)
    };
    let (reference_x, reference_y) = (first(|p| p.x_um), first(|p| p.y_um));
    let point = |position: &Position| {
        Value::Level(
            Level::default()
                .with("dPosX", position.x_um.unwrap_or(0.0) - reference_x)
                .with("dPosY", position.y_um.unwrap_or(0.0) - reference_y)
                .with("dPosZ", position.z_um.unwrap_or(0.0))
                .with("dPFSOffset", 0.0)
                .with("dPosName", position.name.as_str()),
        )
    };
    Level::default()
        .with("uiCount", points.len() as u32)
        .with("bUseZ", points.iter().any(|position| position.z_um.is_some()))
        .with("bRelativeXY", relative)
        .with("dReferenceX", reference_x)
        .with("dReferenceY", reference_y)
        .with("Points", list(points.iter().map(point)))
}

/// The metadata of one frame.
pub(super) fn picture(spec: &Nd2Spec, [x, y, z]: [f64; 3], time_ms: f64) -> Level {
    let unnamed = Nd2Objective::default();
    let objective = spec.objective.as_ref().unwrap_or(&unnamed);
    let aperture = objective.numerical_aperture.unwrap_or(-1.0);
    Level::default()
        .with("dTimeAbsolute", -1.0)
        .with("dTimeMSec", time_ms)
        .with("dXPos", x)
        .with("dYPos", y)
        .with("dZPos", z)
        .with("sPicturePlanes", picture_planes(spec, objective, aperture))
        .with("dCalibration", spec.pixel_size_um.unwrap_or(1.0))
        .with("dAspect", 1.0)
        .with("bCalibrated", spec.pixel_size_um.is_some())
        .with("wsObjectiveName", objective.name.as_str())
        // NIS-Elements leaves this at -1 whatever the objective
        .with("dObjectiveMag", -1.0)
        .with("dObjectiveNA", aperture)
        .with("dRefractIndex1", 1.0)
        .with("dZoom", 1.0)
}

fn picture_planes(spec: &Nd2Spec, objective: &Nd2Objective, aperture: f64) -> Level {
    let camera = Level::default().with("CameraUniqueName", "synthetic").with("CameraUserName", "synthetic");
    let mut sample = Level::default().with("pCameraSetting", camera);
    if let Some(magnification) = objective.magnification {
        let setting = Level::default()
            .with("wsObjectiveName", objective.name.as_str())
            .with("dObjectiveMag", magnification)
            .with("dObjectiveNA", aperture)
            .with("dRefractIndex", 1.0);
        sample = sample.with("pObjectiveSetting", setting);
    }
    let sample =
        sample.with("dRelayLensZoom", 1.0).with("dObjectiveToPinholeZoom", 1.0).with("dExposureTime", 0.0);
    let planes = spec.channels.iter().enumerate();
    Level::default()
        .with("uiCount", spec.channels.len() as u32)
        .with("uiCompCount", spec.n_components() as u32)
        .with(
            "sPlaneNew",
            planes.map(|(index, own)| (format!("a{index}"), plane(own).into())).collect::<Level>(),
        )
        .with("uiSampleCount", 1_u32)
        .with("sSampleSetting", Level::default().with("a0", sample))
        .with("sDescription", "")
}

fn plane((channel, n_samples): &(Channel, u32)) -> Level {
    let [red, green, blue] = channel.color_rgb.unwrap_or([255; 3]);
    let color = u32::from_le_bytes([red, green, blue, 0]);
    let modality = if *n_samples > 1 { MODALITY_BRIGHTFIELD } else { MODALITY_FLUORESCENCE };
    let probe = Level::default()
        .with("m_sName", channel.name.as_str())
        .with("m_uiColor", color)
        .with("m_ExcitationSpectrum", spectrum(None))
        .with("m_EmissionSpectrum", spectrum(channel.emission_nm));
    Level::default()
        .with("uiCompCount", *n_samples)
        .with("uiSampleIndex", 0_u32)
        .with("uiModalityMask", modality)
        .with("pFluorescentProbe", probe)
        .with("pFilterPath", Level::default().with("m_sDescr", "").with("m_uiCount", 0_u32))
        .with("uiColor", color)
        .with("sDescription", channel.name.as_str())
        .with("dAcqTime", 0.0)
        .with("dPinholeDiameter", -1.0)
}

fn spectrum(wavelength_nm: Option<f64>) -> Level {
    let peak = |nm: f64| Level::default().with("eType", 4_u32).with("dWavelength", nm).with("dTValue", 1.0);
    let points: Level = wavelength_nm.map(|nm| ("Point0".to_owned(), peak(nm).into())).into_iter().collect();
    Level::default().with("uiCount", points.0.len() as u32).with("pPoint", points).with("bPoints", false)
}

/// The texts of the file; none when nothing is to be said.
pub(super) fn text_info(spec: &Nd2Spec) -> Option<Level> {
    let objective = spec.objective.as_ref().map(|objective| objective.name.as_str());
    let said = spec.acquired_at.is_some() || objective.is_some();
    let text = |index: u32| match index {
        9 => spec.acquired_at.as_deref().unwrap_or_default(),
        13 => objective.unwrap_or_default(),
        _ => "",
    };
    said.then(|| (0..14).map(|index| (format!("TextInfoItem_{index}"), text(index).into())).collect())
}

fn list(values: impl IntoIterator<Item = Value>) -> Level {
    values.into_iter().map(|value| (String::new(), value)).collect()
}
