//! Volumes: the instances of a series, sorted along the slice normal, on their own grid.
//!
//! [`assemble`] is the entry. Voxels are `[slice, row, column]` after the modality LUT; coordinates are LPS
//! (towards the patient's left, posterior, head) in millimetres, as ImagePositionPatient.

mod assemble;
mod geometry;
mod group;
mod note;
mod slice;
mod spacing;

pub use assemble::{VolumeLimits, assemble};
pub use geometry::VolumeGeometry;
pub use note::{NotAVolume, VolumeNote};

use crate::transform::Window;
use ndarray::Array3;

/// One volume with what it was made of.
#[derive(Debug, Clone)]
pub struct Volume {
    /// `[slice, row, column]`, after the modality LUT (CT: HU; others: the stored scale).
    pub voxels: Array3<f32>,
    /// Where the voxels lie.
    pub geometry: VolumeGeometry,
    /// The frame each slice came from, in the order of the slices.
    pub sources: Vec<SliceSource>,
    /// Modality (0008,0060), empty when absent.
    pub modality: String,
    /// PatientID, empty when absent.
    pub patient_id: String,
    /// StudyInstanceUID, empty when absent.
    pub study_instance_uid: String,
    /// SeriesInstanceUID, empty when absent.
    pub series_instance_uid: String,
    /// FrameOfReferenceUID, where the series has one.
    pub frame_of_reference_uid: Option<String>,
    /// The window that the middle slice's file suggests, for display.
    pub window: Option<Window>,
    /// What a user should know about this volume.
    pub notes: Vec<VolumeNote>,
}

/// A frame of a stored instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SliceSource {
    /// SOPClassUID of the instance.
    pub sop_class_uid: String,
    /// SOPInstanceUID of the instance.
    pub sop_instance_uid: String,
    /// Frame in the instance, counted from 1 as ReferencedFrameNumber is.
    pub frame: u32,
    /// NumberOfFrames of the instance: 1 for a single-frame one.
    pub frames: u32,
}

#[cfg(test)]
mod tests;
