//! Functional groups and dimensions (PS3.3 A.51.5, C.7.6.16, C.7.6.17).

use std::collections::HashMap;

use dicom_core::{PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::item::{Put, decimal, decimals};
use super::voxels::{Plan, PlannedFrame};
use super::{NewSegmentation, derived_uid};
use crate::dataset::numbers;
use crate::{Code, Plane, ReferencedSlice};

/// Slice steps that differ by no more than this, mm, are one spacing.
const SAME_SPACING_MM: f64 = 0.01;

/// Whether every slice has a place, and all face the same way.
pub(super) fn is_spatial(slices: &[ReferencedSlice]) -> bool {
    let planes: Option<Vec<Plane>> = slices.iter().map(ReferencedSlice::plane).collect();
    planes.is_some_and(|planes| {
        planes.windows(2).all(|pair| {
            pair[0].orientation == pair[1].orientation && pair[0].pixel_spacing == pair[1].pixel_spacing
        })
    })
}

pub(super) fn put(new: &NewSegmentation, plan: &Plan, object: &mut InMemDicomObject) {
    let spatial = is_spatial(new.slices);
    put_dimensions(new, plan, spatial, object);
    object.put_items(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared(new, spatial)]);
    let mut ranks: HashMap<usize, u32> = HashMap::new();
    let mut used: Vec<usize> = plan.frames.iter().map(|frame| frame.slice).collect();
    used.sort_unstable();
    used.dedup();
    for (rank, slice) in (1..).zip(used) {
        ranks.insert(slice, rank);
    }
    let items = plan.frames.iter().map(|frame| {
        let rank = ranks.get(&frame.slice).copied().unwrap_or(1);
        per_frame(&new.slices[frame.slice], frame, rank, spatial)
    });
    object.put_items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, items.collect());
}

/// Frames are indexed by segment (BINARY) and by position, or by place in the stack where there is no position.
fn put_dimensions(new: &NewSegmentation, plan: &Plan, spatial: bool, object: &mut InMemDicomObject) {
    let uid = derived_uid(&new.uids.sop_instance_uid, "dimensions");
    let index = |pointer: Tag, group: Tag, label: &str| dimension(&uid, pointer, group, label);
    let mut indices = Vec::new();
    if !plan.label_map {
        indices.push(segment_dimension(&uid));
    }
    indices.push(match spatial {
        true => index(tags::IMAGE_POSITION_PATIENT, tags::PLANE_POSITION_SEQUENCE, "Image Position Patient"),
        false => {
            index(tags::IN_STACK_POSITION_NUMBER, tags::FRAME_CONTENT_SEQUENCE, "In-Stack Position Number")
        }
    });
    let mut organization = InMemDicomObject::new_empty();
    organization.put_value(tags::DIMENSION_ORGANIZATION_UID, VR::UI, uid.as_str());
    object.put_items(tags::DIMENSION_ORGANIZATION_SEQUENCE, vec![organization]);
    object.put_items(tags::DIMENSION_INDEX_SEQUENCE, indices);
}

/// An item of DimensionIndexSequence.
fn dimension(organization: &str, pointer: Tag, group: Tag, label: &str) -> InMemDicomObject {
    let mut item = InMemDicomObject::new_empty();
    item.put_value(tags::DIMENSION_ORGANIZATION_UID, VR::UI, organization);
    item.put_value(tags::DIMENSION_INDEX_POINTER, VR::AT, PrimitiveValue::Tags(vec![pointer].into()));
    item.put_value(tags::FUNCTIONAL_GROUP_POINTER, VR::AT, PrimitiveValue::Tags(vec![group].into()));
    item.put_value(tags::DIMENSION_DESCRIPTION_LABEL, VR::LO, label);
    item
}

/// The dimension of the segment that a frame holds.
pub(crate) fn segment_dimension(organization: &str) -> InMemDicomObject {
    let (pointer, group) = (tags::REFERENCED_SEGMENT_NUMBER, tags::SEGMENT_IDENTIFICATION_SEQUENCE);
    dimension(organization, pointer, group, "Segment Number")
}

/// Orientation and pixel measures. Without positions there are neither: spacing in a plane is then the source's to
/// say, and readers (highdicom among them) expect a slice thickness wherever pixel measures are.
fn shared(new: &NewSegmentation, spatial: bool) -> InMemDicomObject {
    let mut shared = InMemDicomObject::new_empty();
    let Some(first) = new.slices.first().filter(|_| spatial) else { return shared };
    if let Some(orientation) = first.orientation {
        let mut item = InMemDicomObject::new_empty();
        item.put_value(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, decimals(&orientation));
        shared.put_items(tags::PLANE_ORIENTATION_SEQUENCE, vec![item]);
    }
    if let Some(pixel_spacing) = first.pixel_spacing {
        let mut item = InMemDicomObject::new_empty();
        item.put_value(tags::PIXEL_SPACING, VR::DS, decimals(&pixel_spacing));
        put_slice_measures(new, &mut item);
        shared.put_items(tags::PIXEL_MEASURES_SEQUENCE, vec![item]);
    }
    shared
}

/// SliceThickness, and SpacingBetweenSlices where the slices are evenly spaced.
fn put_slice_measures(new: &NewSegmentation, item: &mut InMemDicomObject) {
    let spacing = even_spacing(new.slices);
    let thickness = slice_thickness(new.source).or(spacing).unwrap_or(1.0);
    item.put_value(tags::SLICE_THICKNESS, VR::DS, decimal(thickness));
    if let Some(spacing) = spacing {
        item.put_value(tags::SPACING_BETWEEN_SLICES, VR::DS, decimal(spacing));
    }
}

/// SliceThickness of an image, mm, where it says so and it is above 0.
pub fn slice_thickness(source: &InMemDicomObject) -> Option<f64> {
    use crate::dataset::first_item;
    let shared = || first_item(source, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE);
    let own = || first_item(source, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE);
    let measures = [shared(), own()]
        .into_iter()
        .flatten()
        .filter_map(|groups| first_item(groups, tags::PIXEL_MEASURES_SEQUENCE))
        .chain([source])
        .find_map(|measures| numbers::<1>(measures, tags::SLICE_THICKNESS))?;
    Some(measures[0]).filter(|thickness| *thickness > 0.0)
}

fn even_spacing(slices: &[ReferencedSlice]) -> Option<f64> {
    let planes: Vec<Plane> = slices.iter().map(ReferencedSlice::plane).collect::<Option<_>>()?;
    let normal = planes.first()?.normal();
    let mut offsets: Vec<f64> =
        planes.iter().map(|plane| (0..3).map(|axis| plane.position[axis] * normal[axis]).sum()).collect();
    offsets.sort_by(f64::total_cmp);
    let steps: Vec<f64> = offsets.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let mean = steps.iter().sum::<f64>() / steps.len() as f64;
    let even = steps.iter().all(|step| (step - mean).abs() <= SAME_SPACING_MM);
    // Rounded: the sum's last digits are noise.
    (even && mean > SAME_SPACING_MM).then(|| (mean * 1e6).round() / 1e6)
}

fn per_frame(slice: &ReferencedSlice, frame: &PlannedFrame, rank: u32, spatial: bool) -> InMemDicomObject {
    let mut groups = InMemDicomObject::new_empty();
    groups.put_items(tags::DERIVATION_IMAGE_SEQUENCE, vec![derivation(slice)]);
    let mut content = InMemDicomObject::new_empty();
    let indices: Vec<u32> =
        frame.segment.map(|segment| segment as u32 + 1).into_iter().chain([rank]).collect();
    content.put_value(tags::DIMENSION_INDEX_VALUES, VR::UL, PrimitiveValue::U32(indices.into()));
    if !spatial {
        content.put_value(tags::STACK_ID, VR::SH, "1");
        content.put_value(tags::IN_STACK_POSITION_NUMBER, VR::UL, rank);
    }
    groups.put_items(tags::FRAME_CONTENT_SEQUENCE, vec![content]);
    if let Some(position) = slice.position.filter(|_| spatial) {
        let mut item = InMemDicomObject::new_empty();
        item.put_value(tags::IMAGE_POSITION_PATIENT, VR::DS, decimals(&position));
        groups.put_items(tags::PLANE_POSITION_SEQUENCE, vec![item]);
    }
    if let Some(segment) = frame.segment {
        let mut item = InMemDicomObject::new_empty();
        item.put_value(tags::REFERENCED_SEGMENT_NUMBER, VR::US, segment as u16 + 1);
        groups.put_items(tags::SEGMENT_IDENTIFICATION_SEQUENCE, vec![item]);
    }
    groups
}

/// Derivation Image Macro (PS3.3 C.7.6.16.2.6): the slice that the frame was drawn on.
fn derivation(slice: &ReferencedSlice) -> InMemDicomObject {
    let mut source = InMemDicomObject::new_empty();
    source.put_value(tags::REFERENCED_SOP_CLASS_UID, VR::UI, slice.sop_class_uid.as_str());
    source.put_value(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, slice.sop_instance_uid.as_str());
    if slice.multi_frame {
        source.put_value(tags::REFERENCED_FRAME_NUMBER, VR::IS, slice.frame.to_string());
    }
    source.put_code(
        tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE,
        &Code::new("121322", "DCM", "Source image for image processing operation"),
    );
    source.put_value(tags::SPATIAL_LOCATIONS_PRESERVED, VR::CS, "YES");
    let mut derivation = InMemDicomObject::new_empty();
    derivation.put_items(tags::SOURCE_IMAGE_SEQUENCE, vec![source]);
    derivation.put_code(tags::DERIVATION_CODE_SEQUENCE, &Code::new("113076", "DCM", "Segmentation"));
    derivation
}
