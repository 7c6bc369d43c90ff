//! Codecs of frames. A decoder takes a bounded byte slice and the size that the attributes claim, and never
//! writes more samples than that. Encoders are lossless, but for baseline JPEG.

pub(crate) mod deflate;
pub(crate) mod htj2k;
pub(crate) mod jpeg;
pub(crate) mod jpeg2000;
pub(crate) mod jpegls;
pub(crate) mod rle;

use snafu::Snafu;

/// The decoders, by what a transfer syntax asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// One uncompressed frame a fragment.
    Uncompressed,
    /// RFC 1951.
    Deflate,
    /// PS3.5 annex G.
    Rle,
    /// ITU-T T.81: sequential DCT and lossless.
    Jpeg,
    /// ITU-T T.87.
    JpegLs,
    /// ITU-T T.800, T.814.
    Jpeg2000,
}

/// What a JPEG family codestream decodes to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CodedImage {
    pub rows: usize,
    pub columns: usize,
    pub components: usize,
    /// Bits of a sample, 1 to 32.
    pub precision: u32,
    /// Whether the codestream says its samples are signed.
    pub signed: bool,
    pub colour: CodedColour,
    /// By pixel.
    pub samples: Samples,
}

/// Decoded samples.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Samples {
    U16(Vec<u16>),
    I32(Vec<i32>),
}

impl Samples {
    pub fn len(&self) -> usize {
        match self {
            Self::U16(samples) => samples.len(),
            Self::I32(samples) => samples.len(),
        }
    }
}

/// What the codestream itself says of the colour of its decoded samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CodedColour {
    /// Nothing: believe the attributes.
    Unsaid,
    Rgb,
    YbrFull,
}

/// What the encoders of the JPEG family take: a frame of at most 65535 rows and columns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PlainImage<'a> {
    pub rows: usize,
    pub columns: usize,
    /// 1 or 3.
    pub components: usize,
    /// Bits of a sample, 1 to 16.
    pub precision: u8,
    pub signed: bool,
    /// By pixel; each in the range of the precision and the sign.
    pub samples: &'a [i32],
}

impl PlainImage<'_> {
    /// The precision that JPEG-LS and lossless JPEG, which begin at 2 bits, code the samples with.
    pub fn coded_precision(&self) -> u8 {
        self.precision.max(2)
    }

    /// SOI and the frame header that JPEG-LS and lossless JPEG share (T.81 B.2.2).
    fn start(&self, marker: u8, precision: u8) -> Vec<u8> {
        let components = self.components as u8;
        let mut bytes = vec![0xFF, 0xD8, 0xFF, marker, 0, 8 + 3 * components, precision];
        bytes.extend((self.rows as u16).to_be_bytes());
        bytes.extend((self.columns as u16).to_be_bytes());
        bytes.push(components);
        (1..=components).for_each(|id| bytes.extend([id, 0x11, 0]));
        bytes
    }
}

pub(crate) type Result<T, E = CodecError> = std::result::Result<T, E>;

/// Fails unless a codestream's size is the one expected: no codec allocates by what a header claims.
fn check_size(found: (usize, usize), expected: (usize, usize)) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    SizeSnafu { rows: found.0, columns: found.1, expected_rows: expected.0, expected_columns: expected.1 }
        .fail()
}

/// Why a codestream could not be decoded.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
#[non_exhaustive]
pub enum CodecError {
    /// The codestream ends before the frame does.
    #[snafu(display("could not read past the end of the codestream"))]
    Truncated,

    /// A rule of the codec's standard is broken.
    #[snafu(display("could not follow the codestream: {what}"))]
    Malformed {
        /// The broken rule.
        what: &'static str,
    },

    /// A process of the codec's standard that DICOM does not use.
    #[snafu(display("could not use a codestream with {what}: not supported"))]
    Unsupported {
        /// The process.
        what: &'static str,
    },

    /// The codestream holds an image of another size than the attributes say.
    #[snafu(display(
        "could not use a codestream of {rows} x {columns} pixels where {expected_rows} x {expected_columns} are due"
    ))]
    Size {
        /// Rows in the codestream.
        rows: usize,
        /// Columns in the codestream.
        columns: usize,
        /// Rows by the attributes.
        expected_rows: usize,
        /// Columns by the attributes.
        expected_columns: usize,
    },

    /// OpenJPEG's complaint.
    #[snafu(display("could not decode the JPEG 2000 codestream: {message}"))]
    Jpeg2000 {
        /// In OpenJPEG's words.
        message: String,
    },

    /// OpenJPEG's complaint, when it encodes.
    #[snafu(display("could not encode the frame as JPEG 2000: {what}"))]
    EncodeJpeg2000 {
        /// What failed.
        what: &'static str,
    },

    /// Baseline JPEG could not be written.
    #[snafu(display("could not encode the frame as JPEG"))]
    EncodeJpeg {
        /// The encoder's complaint.
        source: jpeg_encoder::EncodingError,
    },

    /// A deflated frame is damaged.
    #[snafu(display("could not inflate the frame"))]
    Inflate {
        /// The inflater's complaint.
        source: std::io::Error,
    },
}

#[cfg(test)]
mod tests;
