//! Which frames a result has, and their pixel data.

use dicom_core::{PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use ndarray::Axis;

use super::item::Put;
use super::{Encoding, NewSegmentation, Voxels};
use crate::Result;
use crate::error::OverlapSnafu;

/// What is to be written.
pub(super) struct Plan {
    /// LABELMAP rather than BINARY.
    pub label_map: bool,
    /// Whether two segments share a voxel.
    pub overlap: bool,
    /// The frames in stored order: by segment, then by slice.
    pub frames: Vec<PlannedFrame>,
}

pub(super) struct PlannedFrame {
    /// Index of the slice.
    pub slice: usize,
    /// Index of the segment; `None` in a LABELMAP.
    pub segment: Option<usize>,
}

pub(super) fn plan(new: &NewSegmentation) -> Result<Plan> {
    let overlap = first_overlap(&new.voxels);
    let label_map = match (new.encoding, overlap) {
        (Encoding::LabelMap, Some((first, second))) => return OverlapSnafu { first, second }.fail(),
        (Encoding::LabelMap | Encoding::Automatic, None) => true,
        (Encoding::Binary, _) | (Encoding::Automatic, Some(_)) => false,
    };
    let mut frames = Vec::new();
    let segments: Vec<Option<usize>> = match label_map {
        true => vec![None],
        false => (0..new.segments.len()).map(Some).collect(),
    };
    for segment in segments {
        let held = (0..new.slices.len()).filter(|slice| new.voxels.any(*slice, segment));
        frames.extend(held.map(|slice| PlannedFrame { slice, segment }));
    }
    if frames.is_empty() {
        frames.push(PlannedFrame { slice: 0, segment: (!label_map).then_some(0) });
    }
    Ok(Plan { label_map, overlap: overlap.is_some(), frames })
}

/// Image Pixel and Segmentation Image attributes (PS3.3 C.8.20.2), and the pixel data.
pub(super) fn put(new: &NewSegmentation, plan: &Plan, object: &mut InMemDicomObject) {
    let bits: u16 = match (plan.label_map, new.segments.len()) {
        (false, _) => 1,
        (true, ..=255) => 8,
        (true, _) => 16,
    };
    object.put_value(tags::SAMPLES_PER_PIXEL, VR::US, 1u16);
    object.put_value(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
    object.put_value(tags::BITS_ALLOCATED, VR::US, bits);
    object.put_value(tags::BITS_STORED, VR::US, bits);
    object.put_value(tags::HIGH_BIT, VR::US, bits - 1);
    object.put_value(tags::PIXEL_REPRESENTATION, VR::US, 0u16);
    let values = plan.frames.iter().flat_map(|frame| new.voxels.values(frame));
    let (vr, data) = match bits {
        1 => (VR::OB, PrimitiveValue::from(even(pack(values)))),
        8 => (VR::OB, PrimitiveValue::from(even(values.map(|value| value as u8).collect()))),
        _ => (VR::OW, PrimitiveValue::U16(values.collect())),
    };
    object.put_value(tags::PIXEL_DATA, vr, data);
}

impl Voxels<'_> {
    /// Whether a slice has a voxel of the segment, or of any.
    fn any(&self, slice: usize, segment: Option<usize>) -> bool {
        match (self, segment) {
            (Self::LabelMap(labels), None) => {
                labels.index_axis(Axis(0), slice).iter().any(|label| *label != 0)
            }
            (Self::LabelMap(labels), Some(segment)) => {
                labels.index_axis(Axis(0), slice).iter().any(|label| usize::from(*label) == segment + 1)
            }
            (Self::Masks(masks), None) => {
                masks.iter().any(|mask| mask.index_axis(Axis(0), slice).iter().any(|voxel| *voxel != 0))
            }
            (Self::Masks(masks), Some(segment)) => {
                masks[segment].index_axis(Axis(0), slice).iter().any(|voxel| *voxel != 0)
            }
        }
    }

    /// The pixel values of a frame, row after row.
    fn values(&self, frame: &PlannedFrame) -> Vec<u16> {
        match (self, frame.segment) {
            (Self::LabelMap(labels), None) => {
                labels.index_axis(Axis(0), frame.slice).iter().copied().collect()
            }
            (Self::LabelMap(labels), Some(segment)) => labels
                .index_axis(Axis(0), frame.slice)
                .iter()
                .map(|label| u16::from(usize::from(*label) == segment + 1))
                .collect(),
            (Self::Masks(masks), Some(segment)) => masks[segment]
                .index_axis(Axis(0), frame.slice)
                .iter()
                .map(|voxel| u16::from(*voxel != 0))
                .collect(),
            (Self::Masks(masks), None) => merge(masks, frame.slice),
        }
    }
}

/// The label values of a slice whose masks do not overlap.
fn merge(masks: &[ndarray::ArrayView3<u8>], slice: usize) -> Vec<u16> {
    let pixels = masks.first().map_or(0, |mask| mask.index_axis(Axis(0), slice).len());
    let mut labels = vec![0; pixels];
    for (number, mask) in (1u16..).zip(masks) {
        for (label, voxel) in labels.iter_mut().zip(mask.index_axis(Axis(0), slice)) {
            if *voxel != 0 {
                *label = number;
            }
        }
    }
    labels
}

/// Two segments that share a voxel, by number.
fn first_overlap(voxels: &Voxels) -> Option<(u16, u16)> {
    let Voxels::Masks(masks) = voxels else { return None };
    let slices = masks.first().map_or(0, |mask| mask.len_of(Axis(0)));
    for slice in 0..slices {
        let mut labels = vec![0u16; masks[0].index_axis(Axis(0), slice).len()];
        for (number, mask) in (1u16..).zip(masks) {
            for (label, voxel) in labels.iter_mut().zip(mask.index_axis(Axis(0), slice)) {
                match (*voxel != 0, *label) {
                    (true, 0) => *label = number,
                    (true, first) => return Some((first, number)),
                    (false, _) => {}
                }
            }
        }
    }
    None
}

/// Least significant bit first, frames following one another without padding (PS3.5 8.1.1).
pub(crate) fn pack(values: impl Iterator<Item = u16>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, value) in values.enumerate() {
        if index % 8 == 0 {
            bytes.push(0);
        }
        if let Some(last) = bytes.last_mut() {
            *last |= u8::from(value != 0) << (index % 8);
        }
    }
    bytes
}

/// With the byte that makes the length even (PS3.5 8.2).
pub(crate) fn even(mut bytes: Vec<u8>) -> Vec<u8> {
    if !bytes.len().is_multiple_of(2) {
        bytes.push(0);
    }
    bytes
}
