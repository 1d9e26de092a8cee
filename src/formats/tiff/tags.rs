//! The numbers of the format: byte order, tags, and the codes that several files share.

/// Which byte of a number comes first in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ByteOrder {
    /// The least significant (`II`).
    #[default]
    Little,
    /// The most significant (`MM`).
    Big,
}

impl ByteOrder {
    /// The order of this machine.
    pub const NATIVE: Self = if cfg!(target_endian = "little") { Self::Little } else { Self::Big };

    pub(super) const fn mark(self) -> &'static [u8; 2] {
        match self {
            Self::Little => b"II",
            Self::Big => b"MM",
        }
    }

    pub(super) const fn u16_bytes(self, value: u16) -> [u8; 2] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }

    pub(super) const fn u32_bytes(self, value: u32) -> [u8; 4] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }

    pub(super) const fn u64_bytes(self, value: u64) -> [u8; 8] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }

    /// A count or an offset: 8 bytes in BigTIFF, else 4.
    pub(super) fn size_bytes(self, value: u64, big: bool) -> Vec<u8> {
        if big { self.u64_bytes(value).to_vec() } else { self.u32_bytes(value as u32).to_vec() }
    }

    /// The number in up to 8 bytes.
    pub(super) fn uint(self, bytes: &[u8]) -> u64 {
        let push = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        match self {
            Self::Little => bytes.iter().rev().fold(0, push),
            Self::Big => bytes.iter().fold(0, push),
        }
    }
}

/// Differencing of neighbouring samples before compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Predictor {
    /// None (predictor 1).
    #[default]
    None,
    /// Differences along the row (predictor 2).
    Horizontal,
    /// Differences of the bytes of a row, sorted by significance (predictor 3).
    FloatingPoint,
}

impl Predictor {
    pub(super) const fn code(self) -> u16 {
        match self {
            Self::None => 1,
            Self::Horizontal => 2,
            Self::FloatingPoint => 3,
        }
    }
}

/// Tag numbers.
pub(super) mod tag {
    pub(crate) const NEW_SUBFILE_TYPE: u16 = 254;
    pub(crate) const SUBFILE_TYPE: u16 = 255;
    pub(crate) const WIDTH: u16 = 256;
    pub(crate) const HEIGHT: u16 = 257;
    pub(crate) const BITS_PER_SAMPLE: u16 = 258;
    pub(crate) const COMPRESSION: u16 = 259;
    pub(crate) const PHOTOMETRIC: u16 = 262;
    pub(crate) const FILL_ORDER: u16 = 266;
    pub(crate) const DESCRIPTION: u16 = 270;
    pub(crate) const STRIP_OFFSETS: u16 = 273;
    pub(crate) const SAMPLES_PER_PIXEL: u16 = 277;
    pub(crate) const ROWS_PER_STRIP: u16 = 278;
    pub(crate) const STRIP_BYTE_COUNTS: u16 = 279;
    pub(crate) const X_RESOLUTION: u16 = 282;
    pub(crate) const Y_RESOLUTION: u16 = 283;
    pub(crate) const PLANAR: u16 = 284;
    pub(crate) const T4_OPTIONS: u16 = 292;
    pub(crate) const RESOLUTION_UNIT: u16 = 296;
    pub(crate) const DATE_TIME: u16 = 306;
    pub(crate) const PREDICTOR: u16 = 317;
    pub(crate) const TILE_WIDTH: u16 = 322;
    pub(crate) const TILE_HEIGHT: u16 = 323;
    pub(crate) const TILE_OFFSETS: u16 = 324;
    pub(crate) const TILE_BYTE_COUNTS: u16 = 325;
    pub(crate) const SUB_DIRECTORIES: u16 = 330;
    pub(crate) const EXTRA_SAMPLES: u16 = 338;
    pub(crate) const SAMPLE_FORMAT: u16 = 339;
    pub(crate) const JPEG_TABLES: u16 = 347;
    pub(crate) const YCBCR_SUBSAMPLING: u16 = 530;
    /// MetaMorph: one entry per plane of a stack.
    pub(crate) const METAMORPH_UIC2: u16 = 33629;
    /// Micro-Manager and NDTiff: the plane's metadata as JSON.
    pub(crate) const MICRO_MANAGER: u16 = 51123;
    /// Zeiss LSM: a structure that counts slices, times and channels.
    pub(crate) const LSM_INFO: u16 = 34412;
    /// NIS-Elements: the metadata of the picture, in the words of ND2.
    pub(crate) const NIS_PICTURE: u16 = 65331;
    /// NIS-Elements: side of a pixel in micrometres as a double.
    pub(crate) const NIS_PIXEL_SIZE: u16 = 65326;
}
