//! What a PACS that cannot show a DICOM-SEG is given: pictures of its series with the segments drawn in, and a
//! structured report of their volumes.
//!
//! Performs no I/O and reads no clock: dates are the SEG's, UIDs are derived from its UIDs, so that the same SEG on the
//! same series gives the same files.
//!
//! - [`SegmentedSeries`]: a SEG with the slices that it was made on.
//! - [`secondary_capture()`]: one slice as a Secondary Capture Image.
//! - [`measurement_report()`]: the volumes as a TID 1500 Measurement Report.
//! - [`measured_segments`]: the volumes themselves.

mod error;
mod identity;
mod measure;
mod measurement_report;
mod secondary_capture;
mod series;
mod stack;
#[cfg(test)]
mod testing;

pub use error::{Error, Result};
pub use measure::{MeasuredSegment, measured_segments};
pub use measurement_report::{ReferencedSegmentation, measurement_report};
pub use secondary_capture::secondary_capture;
pub use series::{Region, SegmentedSeries};

/// A file, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendition {
    /// SOPClassUID.
    pub sop_class_uid: String,
    /// SOPInstanceUID.
    pub sop_instance_uid: String,
    /// The Part 10 file, Explicit VR Little Endian.
    pub part10: Vec<u8>,
}
