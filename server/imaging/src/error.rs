//! What can go wrong between a file's pixel data and a picture or a volume.

use crate::volume::NotAVolume;
use snafu::Snafu;

/// Why pixels could not be decoded, transformed, assembled or rendered. Every variant is the file's or the
/// caller's doing: none is an internal failure.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
#[non_exhaustive]
pub enum Error {
    /// A mandatory attribute (PS3.3 C.7.6.3) is absent.
    #[snafu(display("could not find the attribute {name}"))]
    MissingAttribute {
        /// Keyword of the attribute.
        name: &'static str,
    },

    /// An attribute is there, but its value has no meaning here.
    #[snafu(display("could not make sense of the attribute {name}: {value}"))]
    BadAttribute {
        /// Keyword of the attribute.
        name: &'static str,
        /// What it said, as text.
        value: String,
    },

    /// The object has none of PixelData, FloatPixelData and DoubleFloatPixelData.
    #[snafu(display("could not find pixel data"))]
    NoPixelData,

    /// No decoder for this transfer syntax.
    #[snafu(display("could not decode transfer syntax {uid}: not supported"))]
    UnsupportedTransferSyntax {
        /// UID of the transfer syntax.
        uid: String,
    },

    /// Samples of a kind that no decoder here produces (for example 24 bits allocated).
    #[snafu(display(
        "could not decode {bits_allocated} bits allocated with {samples_per_pixel} samples a pixel"
    ))]
    UnsupportedSamples {
        /// BitsAllocated.
        bits_allocated: u16,
        /// SamplesPerPixel.
        samples_per_pixel: u16,
    },

    /// The frame asked for is not in the object.
    #[snafu(display("could not find frame {frame}: the object has {frames}"))]
    NoSuchFrame {
        /// Frame asked for, counted from 1.
        frame: usize,
        /// NumberOfFrames.
        frames: usize,
    },

    /// Decoding would need more memory than the configuration grants.
    #[snafu(display("could not decode {what} of {needed} bytes: the limit is {limit}"))]
    TooLarge {
        /// What is too large: a frame, a volume.
        what: &'static str,
        /// Bytes it would take.
        needed: u64,
        /// Bytes granted.
        limit: u64,
    },

    /// Pixel data ends before the frame does.
    #[snafu(display(
        "could not read frame {frame}: pixel data has {found} bytes where {expected} are needed"
    ))]
    ShortPixelData {
        /// Frame asked for, counted from 1.
        frame: usize,
        /// Bytes needed up to the frame's end.
        expected: u64,
        /// Bytes there.
        found: u64,
    },

    /// The fragments cannot be told apart into as many frames as the object claims (PS3.5 A.4).
    #[snafu(display("could not assign {fragments} fragments to {frames} frames: {reason}"))]
    Fragments {
        /// Fragments in the pixel data, the offset table not counted.
        fragments: usize,
        /// NumberOfFrames.
        frames: usize,
        /// What is inconsistent.
        reason: &'static str,
    },

    /// A compressed frame is malformed.
    #[snafu(display("could not decode frame {frame}: {source}"))]
    DecodeFrame {
        /// Frame asked for, counted from 1.
        frame: usize,
        /// The codec's complaint.
        source: crate::codec::CodecError,
    },

    /// A frame could not be compressed.
    #[snafu(display("could not encode frame {frame}: {source}"))]
    EncodeFrame {
        /// The frame, counted from 1.
        frame: usize,
        /// The codec's complaint.
        source: crate::codec::CodecError,
    },

    /// A transfer syntax has no place for pixels of this kind.
    #[snafu(display("could not write the pixels in transfer syntax {uid}: {reason}"))]
    CannotHold {
        /// UID of the transfer syntax.
        uid: &'static str,
        /// What is in the way.
        reason: &'static str,
    },

    /// The frames' codestreams disagree on their colour, of which an object has one only.
    #[snafu(display("could not write frame {frame}: its colour is coded otherwise than that of the first"))]
    MismatchedFrames {
        /// The frame, counted from 1.
        frame: usize,
    },

    /// The file does not parse.
    #[snafu(display("could not read the object: {source}"))]
    ReadObject {
        /// The parser's complaint.
        source: Box<dicom_object::ReadError>,
    },

    /// The bytes of the data set do not parse.
    #[snafu(display("could not rewrite the data set: {what}"))]
    DataSet {
        /// What is wrong.
        what: &'static str,
    },

    /// The codestream is sound but is not the image that the attributes describe.
    #[snafu(display(
        "could not match frame {frame} with its attributes: {what} is {found}, the attributes say {expected}"
    ))]
    Mismatch {
        /// Frame asked for, counted from 1.
        frame: usize,
        /// The property that differs.
        what: &'static str,
        /// What the codestream says.
        found: u64,
        /// What the attributes say.
        expected: u64,
    },

    /// A photometric interpretation that cannot be shown.
    #[snafu(display("could not render photometric interpretation {photometric}"))]
    UnsupportedPhotometric {
        /// The value of PhotometricInterpretation.
        photometric: String,
    },

    /// JPEG encoding failed.
    #[snafu(display("could not encode the picture as JPEG: {source}"))]
    EncodeJpeg {
        /// The codec's complaint.
        source: crate::codec::CodecError,
    },

    /// JPEG 2000 encoding failed.
    #[snafu(display("could not encode the picture as JPEG 2000: {source}"))]
    EncodeJpeg2000 {
        /// The codec's complaint.
        source: crate::codec::CodecError,
    },

    /// PNG encoding failed.
    #[snafu(display("could not encode the picture"))]
    EncodePicture {
        /// The encoder's complaint.
        source: image::ImageError,
    },

    /// GIF encoding failed.
    #[snafu(display("could not encode the picture as GIF"))]
    EncodeGif {
        /// The encoder's complaint.
        source: gif::EncodingError,
    },

    /// Options of a rendering or resampling call that cannot be met.
    #[snafu(display("could not use the option {name}: {reason}"))]
    BadOption {
        /// The option.
        name: &'static str,
        /// Why it cannot be met.
        reason: String,
    },

    /// The instances are images, but do not make a volume.
    #[snafu(display("could not make a volume of the series: {reason}"))]
    NotAVolume {
        /// What the series is instead.
        reason: NotAVolume,
    },
}

/// Result of this room.
pub type Result<T, E = Error> = std::result::Result<T, E>;
