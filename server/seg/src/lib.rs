//! DICOM Segmentation objects (PS3.3 A.51) to label masks on a volume's grid and back, with their coded
//! concepts. Knows nothing of storage: it takes datasets and gives datasets.
//!
//! - [`read`] parses a BINARY, FRACTIONAL or LABELMAP SEG; [`Segmentation::masks_on`] places one of its segments
//!   on given source slices, [`Segmentation::frame_on`] one of its frames for a picture.
//! - [`write()`] makes a LABELMAP or BINARY SEG from voxels on source slices.
//! - [`to_binary`] makes a BINARY SEG of a LABELMAP.
//! - [`put`] puts attributes into data sets, for rooms that write other objects beside a SEG.
//! - [`Code`] and [`LabelConcept`] say when two segments mean the same thing.
//!
//! Positions are in the patient coordinate system (LPS), in mm; arrays are indexed `[slice, row, column]`.

mod binary;
mod code;
mod concept;
mod dataset;
mod describe;
mod error;
mod frame;
mod masks;
mod pixels;
mod place;
mod provenance;
mod read;
mod segment;
mod shown;
mod slice;
mod srt;
#[cfg(test)]
mod tests;
mod write;

pub use binary::to_binary;
pub use code::Code;
pub use concept::LabelConcept;
pub use describe::{
    Description, FractionalKind, ReferencedInstance, ReferencedSeries, SegmentationType, TotalPixelMatrix,
    describe,
};
pub use error::{Error, Result};
pub use frame::{Frame, Plane, SourceReference};
pub use masks::SegmentMasks;
pub use place::{GridMap, Placement};
pub use provenance::{ReviewedSlice, SegmentProvenance};
pub use read::{Limits, Segmentation, read, read_within};
pub use segment::{AlgorithmType, AnatomicRegion, Segment, colour_of_number};
pub use shown::{FrameOnSlice, SegmentPixel};
pub use slice::ReferencedSlice;
pub use write::{
    AlgorithmIdentification, Content, Encoding, Equipment, NewSegment, NewSegmentation, ResultUids, Voxels,
    copy_patient_and_study, derived_uid, item as put, put_lossy_history, slice_thickness, to_part10, write,
};
