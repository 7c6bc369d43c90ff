//! What this room could not do.

use snafu::Snafu;

/// The result of this room's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Each variant names what could not be done.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
#[non_exhaustive]
pub enum Error {
    /// The segmentation could not be read, or something of it not be placed or written.
    #[snafu(display("could not use the segmentation: {source}"))]
    Segmentation {
        /// Why.
        source: engram_seg::Error,
    },

    /// There is no slice to draw on or to measure by.
    #[snafu(display("could not find a slice that the segmentation was made on"))]
    NoSlices,

    /// Frames with voxels belong to none of the slices, so that pictures and volumes would lack them.
    #[snafu(display(
        "could not place {frames} frames of the segmentation on the series: their slices are missing, or have \
         another grid"
    ))]
    FramesElsewhere {
        /// How many.
        frames: usize,
    },

    /// The slice is none of the series.
    #[snafu(display("could not find slice {slice}: there are {slices}"))]
    NoSuchSlice {
        /// Index asked for.
        slice: usize,
        /// Slices in all.
        slices: usize,
    },

    /// The slice's pixels cannot be shown.
    #[snafu(display("could not show slice {slice}: {source}"))]
    Picture {
        /// Index of the slice.
        slice: usize,
        /// Why.
        source: engram_imaging::Error,
    },

    /// More memory than the limit allows would be needed.
    #[snafu(display("could not hold {bytes} bytes: the limit is {limit}"))]
    TooLarge {
        /// Bytes needed.
        bytes: u64,
        /// Bytes allowed.
        limit: u64,
    },

    /// The object was made but not encoded.
    #[snafu(display("could not encode the object as a file: {source}"))]
    Encode {
        /// Why.
        source: Box<dicom_object::WriteError>,
    },

    /// The file meta information was not made.
    #[snafu(display("could not make the file meta information: {source}"))]
    Meta {
        /// Why.
        source: Box<dicom_object::WithMetaError>,
    },
}
