//! SegmentSequence (PS3.3 C.8.20.2, C.8.20.4).

use dicom_core::{PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::item::{Put, clipped, code_item, line};
use super::{AlgorithmIdentification, NewSegment, NewSegmentation, derived_uid};
use crate::error::IncompleteSnafu;
use crate::{AlgorithmType, AnatomicRegion, Code, Result};

pub(super) fn put(new: &NewSegmentation, object: &mut InMemDicomObject) -> Result<()> {
    let items = new.segments.iter().enumerate().map(|(index, segment)| {
        let label = line(&segment.label);
        match label.is_empty() {
            true => IncompleteSnafu { reason: format!("segment {} has no label", index + 1) }.fail(),
            false => Ok(item(new, segment, index as u16 + 1, label)),
        }
    });
    object.put_items(tags::SEGMENT_SEQUENCE, items.collect::<Result<_>>()?);
    Ok(())
}

fn item(new: &NewSegmentation, segment: &NewSegment, number: u16, label: String) -> InMemDicomObject {
    let mut item = InMemDicomObject::new_empty();
    let concept = &segment.concept;
    let anatomical = || Code::new("91723000", "SCT", "Anatomical Structure");
    let category = concept.category.clone().unwrap_or_else(anatomical);
    item.put_code(tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, &category);
    let mut property_type = code_item(&concept.property_type);
    if !concept.modifiers.is_empty() {
        let modifiers = concept.modifiers.iter().map(code_item).collect();
        property_type.put_items(tags::SEGMENTED_PROPERTY_TYPE_MODIFIER_CODE_SEQUENCE, modifiers);
    }
    item.put_items(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, vec![property_type]);
    if !segment.anatomic_regions.is_empty() {
        item.put_items(tags::ANATOMIC_REGION_SEQUENCE, segment.anatomic_regions.iter().map(region).collect());
    }
    item.put_value(tags::SEGMENT_NUMBER, VR::US, number);
    let words = || segment.provenance.as_ref().map(|provenance| provenance.words());
    if let Some(description) = segment.description.clone().or_else(words) {
        item.put_value(tags::SEGMENT_DESCRIPTION, VR::ST, clipped(&description, 1024));
    }
    item.put_value(tags::SEGMENT_ALGORITHM_TYPE, VR::CS, segment.algorithm_type.term());
    if let Some(algorithm) =
        new.algorithm.as_ref().filter(|_| segment.algorithm_type != AlgorithmType::Manual)
    {
        item.put_value(tags::SEGMENT_ALGORITHM_NAME, VR::LO, line(&algorithm.name));
        item.put_items(
            tags::SEGMENTATION_ALGORITHM_IDENTIFICATION_SEQUENCE,
            vec![algorithm_identification(algorithm)],
        );
    }
    item.put_value(tags::TRACKING_ID, VR::UT, segment.tracking_id.as_deref().unwrap_or(&label));
    item.put_value(tags::SEGMENT_LABEL, VR::LO, label);
    let derived = || derived_uid(&new.uids.sop_instance_uid, &format!("segment/{number}"));
    item.put_value(tags::TRACKING_UID, VR::UI, segment.tracking_uid.clone().unwrap_or_else(derived));
    if let Some(color) = segment.recommended_cielab {
        item.put_value(
            tags::RECOMMENDED_DISPLAY_CIE_LAB_VALUE,
            VR::US,
            PrimitiveValue::U16(color.to_vec().into()),
        );
    }
    if let Some(provenance) = &segment.provenance {
        provenance.put(&mut item);
    }
    item
}

fn region(region: &AnatomicRegion) -> InMemDicomObject {
    let mut item = code_item(&region.region);
    if !region.modifiers.is_empty() {
        let modifiers = region.modifiers.iter().map(code_item).collect();
        item.put_items(tags::ANATOMIC_REGION_MODIFIER_SEQUENCE, modifiers);
    }
    item
}

/// Algorithm Identification Macro (PS3.3 10.16).
fn algorithm_identification(algorithm: &AlgorithmIdentification) -> InMemDicomObject {
    let mut item = InMemDicomObject::new_empty();
    item.put_code(
        tags::ALGORITHM_FAMILY_CODE_SEQUENCE,
        &Code::new("123110", "DCM", "Artificial Intelligence"),
    );
    item.put_value(tags::ALGORITHM_NAME, VR::LO, line(&algorithm.name));
    item.put_value(tags::ALGORITHM_VERSION, VR::LO, line(&algorithm.version));
    item
}
