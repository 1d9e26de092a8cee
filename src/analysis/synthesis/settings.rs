//! What a synthetic acquisition is asked to be.

/// Which containers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FormatChoice {
    /// The wells take turns: ND2, TIFF, OME-TIFF.
    #[default]
    Mixed,
    /// One plane per file.
    Tiff,
    /// All planes of a field in one file, with OME-XML.
    OmeTiff,
    /// All planes of a field in one file.
    Nd2,
}

/// How files are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NameChoice {
    /// ND2 as NIS-Elements JOBS names it, everything else generic.
    #[default]
    Mixed,
    /// `WellB02_Point0001_ChannelDAPI,GFP_Seq0000.nd2`.
    Nis,
    /// `B02_s1_w1.tif`.
    Generic,
}

/// Settings of an acquisition; see [`AcquisitionSettings::check`] for the ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcquisitionSettings {
    /// Another seed gives another acquisition.
    pub seed: u64,
    /// Wells with cells, default 3.
    pub n_wells: u32,
    /// Fields per well, each at 10x and, in its middle, at 40x, default 2.
    pub n_fields: u32,
    /// Rows and columns of a frame, default 1024.
    pub side_px: usize,
    /// Time points, default 1.
    pub n_times: u32,
    /// Focus steps, default 1.
    pub n_z: u32,
    /// Channels, default 2: nuclei, cytoplasm, other nuclei, granules.
    pub n_channels: u32,
    /// Containers, default mixed.
    pub format: FormatChoice,
    /// Names, default mixed.
    pub names: NameChoice,
    /// Whether the 40x light path mirrors the image, default no.
    pub is_detail_mirrored: bool,
    /// Leaves out what is otherwise planted: copies, repeats, faults, empty wells; default no.
    pub is_plain: bool,
    /// Lists the centre of every nucleus of every plane in the truth, default no.
    pub lists_nuclei: bool,
}

impl Default for AcquisitionSettings {
    fn default() -> Self {
        Self {
            seed: 1,
            n_wells: 3,
            n_fields: 2,
            side_px: 1024,
            n_times: 1,
            n_z: 1,
            n_channels: 2,
            format: FormatChoice::default(),
            names: NameChoice::default(),
            is_detail_mirrored: false,
            is_plain: false,
            lists_nuclei: false,
        }
    }
}

/// A setting is outside its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {name} from {least} to {most}, found {found}")]
pub struct OutOfRange {
    /// What.
    pub name: &'static str,
    /// The least that is allowed.
    pub least: u64,
    /// The most that is allowed.
    pub most: u64,
    /// What was asked for.
    pub found: u64,
}

impl AcquisitionSettings {
    /// Wells are B02 to O23, at most.
    pub const N_WELLS_MAX: u32 = 22 * 14;

    /// Most planes of an acquisition, beside a few dozen that are planted.
    pub const N_PLANES_MAX: u64 = 1_000_000;
    /// Most bytes of samples in an OME-TIFF file: its offsets have 32 bits, and its directories need room.
    pub const N_OME_TIFF_BYTES_MAX: u64 = (1 << 32) - (64 << 20);

    /// Checks the ranges, and that all together is not too much.
    ///
    /// # Errors
    /// The first setting that is outside its range.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let n_file_planes = [self.n_times, self.n_z, self.n_channels].map(u64::from);
        let n_file_planes = n_file_planes.into_iter().fold(1, u64::saturating_mul);
        let n_fields = u64::from(self.n_wells) * u64::from(self.n_fields) * 2;
        let n_planes = n_fields.saturating_mul(n_file_planes);
        let frame_bytes = (self.side_px as u64).saturating_pow(2).saturating_mul(2);
        let n_file_bytes = n_file_planes.saturating_mul(frame_bytes);
        let n_file_bytes_max = match self.format {
            FormatChoice::Mixed | FormatChoice::OmeTiff => Self::N_OME_TIFF_BYTES_MAX,
            FormatChoice::Tiff | FormatChoice::Nd2 => u64::MAX,
        };
        let ranges = [
            ("wells", u64::from(self.n_wells), 1, u64::from(Self::N_WELLS_MAX)),
            ("fields", self.n_fields.into(), 1, 100),
            ("a side in pixels", self.side_px as u64, 128, 8192),
            ("time points", self.n_times.into(), 1, 10_000),
            ("focus steps", self.n_z.into(), 1, 1000),
            ("channels", self.n_channels.into(), 1, super::scene::N_CHANNELS_MAX as u64),
            ("planes in all", n_planes, 1, Self::N_PLANES_MAX),
            ("bytes in a file", n_file_bytes, 1, n_file_bytes_max),
        ];
        let outside = ranges.into_iter().find(|(_, found, least, most)| !(least..=most).contains(&found));
        outside.map_or(Ok(()), |(name, found, least, most)| Err(OutOfRange { name, least, most, found }))
    }
}
