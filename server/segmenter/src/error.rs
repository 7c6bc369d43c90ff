//! What the method could not do.

use snafu::Snafu;

/// The failure of a bank or a bundle behind a trait.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A result of this room.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What could not be done, and why.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
#[non_exhaustive]
pub enum Error {
    /// The request names no label.
    #[snafu(display("could not segment: no label was asked for"))]
    NoLabels,

    /// A label volume holds one byte a voxel.
    #[snafu(display("could not segment {count} labels at once: the limit is {limit}"))]
    TooManyLabels {
        /// Labels asked for.
        count: usize,
        /// Labels that one result can hold.
        limit: usize,
    },

    /// A prompt that says nothing, or too much.
    #[snafu(display("could not use the prompt on slice {slice}: {reason}"))]
    Prompt {
        /// The slice, counted from 0.
        slice: usize,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// Clicks, for a bundle without a prompt encoder.
    #[snafu(display(
        "could not use clicks or a box: bundle {bundle} takes none; give a mask, or choose a bundle of SAM 2"
    ))]
    NoClicks {
        /// The bundle.
        bundle: String,
    },

    /// Frames that are no images for the bundle.
    #[snafu(display(
        "could not use frames of shape {found:?}: the bundle wants [frames, 3, {side}, {side}]"
    ))]
    FrameShape {
        /// Shape of the frames.
        found: Vec<usize>,
        /// Side of the bundle's image.
        side: usize,
    },

    /// An object that is not followed.
    #[snafu(display("could not find object {object}: there are {objects}, counted from 0"))]
    NoSuchObject {
        /// The object.
        object: usize,
        /// How many there are.
        objects: usize,
    },

    /// An object that nobody showed on any frame.
    #[snafu(display("could not follow object {object}: no mask and no click says where it is"))]
    NothingToFollow {
        /// The object.
        object: usize,
    },

    /// A slice with nothing to be conditioned on, and a bundle that cannot do without.
    #[snafu(display("could not segment a slice without any memory: this bundle has no \"no_mem_embed\""))]
    NoMemory,

    /// The volume has no voxel.
    #[snafu(display("could not segment: the volume is empty"))]
    EmptyVolume,

    /// Nobody ever annotated the label.
    #[snafu(display("could not segment {label}: no exemplar in the bank carries this label"))]
    UnknownLabel {
        /// Key of the label.
        label: String,
    },

    /// The label is known, but the search may use none of its exemplars.
    #[snafu(display("could not segment {label}: none of its exemplars may be used for this target"))]
    NoExemplars {
        /// Key of the label.
        label: String,
    },

    /// The label was annotated in other modalities only.
    #[snafu(display(
        "could not segment {label} in modality {modality:?}: its exemplars are of {}",
        available.join(", ")
    ))]
    ModalityMismatch {
        /// Key of the label.
        label: String,
        /// Modality of the target.
        modality: String,
        /// Modalities of the label's exemplars.
        available: Vec<String>,
    },

    /// A mask does not fit the volume it came with.
    #[snafu(display("could not use the mask of {label}: it covers {found:?}, the volume {expected:?}"))]
    MaskShape {
        /// Key of the label.
        label: String,
        /// `[slices, rows, columns]` or `[rows, columns]` of the volume.
        expected: Vec<usize>,
        /// The same of the mask.
        found: Vec<usize>,
    },

    /// A slice number past the volume's end.
    #[snafu(display("could not use slice {slice}: the volume has {slices}"))]
    SliceOutOfRange {
        /// The slice asked for, counted from 0.
        slice: usize,
        /// Slices of the volume.
        slices: usize,
    },

    /// The bundle failed, or answered with tensors of another shape than its manifest says.
    #[snafu(display("could not {action} with the bundle"))]
    Models {
        /// What was attempted.
        action: &'static str,
        /// Why it failed.
        source: BoxError,
    },

    /// A graph's answer does not have the shape that the manifest promises.
    #[snafu(display("could not {action}: expected a tensor of {expected:?}, the bundle gave {found:?}"))]
    TensorShape {
        /// What was attempted.
        action: &'static str,
        /// Shape after the manifest.
        expected: Vec<usize>,
        /// Shape of the tensor.
        found: Vec<usize>,
    },

    /// The bank failed.
    #[snafu(display("could not {action} in the bank"))]
    Bank {
        /// What was attempted.
        action: &'static str,
        /// Why it failed.
        source: BoxError,
    },

    /// The observer asked to stop.
    #[snafu(display("could not finish: the work was cancelled"))]
    Cancelled,
}
