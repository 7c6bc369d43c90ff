//! What can go wrong between a SEG and its masks.

use snafu::Snafu;

/// The result of this room's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Each variant names what could not be done.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
#[non_exhaustive]
pub enum Error {
    /// The object is of another SOP class.
    #[snafu(display("could not read the object as a segmentation: its SOP class is {sop_class_uid}"))]
    NotASegmentation {
        /// SOPClassUID of the object, empty where it has none.
        sop_class_uid: String,
    },

    /// An attribute the standard requires, and without which the object cannot be understood, is absent or empty.
    #[snafu(display("could not find {attribute} in {within}"))]
    MissingAttribute {
        /// Keyword of the attribute.
        attribute: &'static str,
        /// The part of the object it was looked for in.
        within: String,
    },

    /// An attribute's value is not one that the standard allows there.
    #[snafu(display("could not use {attribute} of {within}: {value}"))]
    InvalidAttribute {
        /// Keyword of the attribute.
        attribute: &'static str,
        /// The part of the object it stands in.
        within: String,
        /// The value found.
        value: String,
    },

    /// NumberOfFrames and the items that describe the frames differ.
    #[snafu(display("could not match frames: {declared} declared, {described} described"))]
    FrameCount {
        /// NumberOfFrames.
        declared: u32,
        /// Items of PerFrameFunctionalGroupsSequence, or tiles for TILED_FULL.
        described: u64,
    },

    /// Native pixel data of another length than the frames take.
    #[snafu(display("could not read the pixel data: {expected} bytes expected, {actual} found"))]
    PixelDataLength {
        /// Bytes that the declared frames take, without padding.
        expected: u64,
        /// Bytes found.
        actual: u64,
    },

    /// More memory than the limit allows would be needed.
    #[snafu(display("could not hold {bytes} bytes: the limit is {limit}"))]
    TooLarge {
        /// Bytes needed.
        bytes: u64,
        /// Bytes allowed.
        limit: u64,
    },

    /// A compressed frame was not decoded.
    #[snafu(display("could not decode frame {frame}"))]
    DecodeFrame {
        /// Frame number, from 1.
        frame: u32,
        /// Why.
        source: Box<engram_imaging::Error>,
    },

    /// A decoded frame holds another number of samples than Rows x Columns.
    #[snafu(display("could not use decoded frame {frame}: {expected} samples expected, {actual} found"))]
    DecodedFrame {
        /// Frame number, from 1.
        frame: u32,
        /// Rows x Columns.
        expected: usize,
        /// Samples decoded.
        actual: usize,
    },

    /// The segment asked for is not in the object.
    #[snafu(display("could not find segment {number}"))]
    NoSuchSegment {
        /// Segment number asked for.
        number: u16,
    },

    /// A tiled (whole slide) segmentation has frames per tile, not per slice.
    #[snafu(display(
        "could not place a tiled segmentation on slices: its frames are tiles of a total pixel matrix"
    ))]
    Tiled,

    /// None of the segment's frames belongs to the slices given.
    #[snafu(display(
        "could not place segment {number}: none of its {frames} frames refers to, or lies on, the slices given"
    ))]
    NotOnSlices {
        /// Segment number.
        number: u16,
        /// Frames that hold the segment.
        frames: usize,
    },

    /// A frame refers to several of the slices, and its position does not say which.
    #[snafu(display("could not choose a slice for frame {frame}: it refers to several and has no position"))]
    AmbiguousReference {
        /// Frame number, from 1.
        frame: u32,
    },

    /// The frame's pixel grid is not the slice's, even flipped, turned by quarter turns, or cropped.
    #[snafu(display("could not place frame {frame} on slice {slice}: its pixel grid is another"))]
    GridDiffers {
        /// Frame number, from 1.
        frame: u32,
        /// Index of the slice.
        slice: usize,
    },

    /// Text that is not a label's key.
    #[snafu(display("could not read {key:?} as the key of a label"))]
    LabelKey {
        /// The text.
        key: String,
    },

    /// The voxels' shape is not that of the slices.
    #[snafu(display("could not write voxels of shape {actual:?} on slices of shape {expected:?}"))]
    VoxelShape {
        /// Slices, rows, columns of the source.
        expected: [usize; 3],
        /// Slices, rows, columns of the voxels.
        actual: [usize; 3],
    },

    /// A request to write is not complete or contradicts itself.
    #[snafu(display("could not write a segmentation: {reason}"))]
    Incomplete {
        /// What is wrong.
        reason: String,
    },

    /// Segments overlap in a voxel, which LABELMAP cannot hold.
    #[snafu(display("could not write a LABELMAP: segments {first} and {second} overlap"))]
    Overlap {
        /// A segment number.
        first: u16,
        /// Another, in the same voxel.
        second: u16,
    },

    /// The object is none that a BINARY segmentation can be made of.
    #[snafu(display("could not make a BINARY segmentation of the object: {reason}"))]
    NotBinary {
        /// Why not.
        reason: &'static str,
    },

    /// The object was made but not encoded.
    #[snafu(display("could not encode the segmentation as a file"))]
    Encode {
        /// Why.
        source: Box<dicom_object::WriteError>,
    },

    /// The file meta information was not made.
    #[snafu(display("could not make the file meta information"))]
    Meta {
        /// Why.
        source: Box<dicom_object::WithMetaError>,
    },
}
