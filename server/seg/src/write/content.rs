//! Identity and content: SOP Common, General Series, General Image, Segmentation Image, Common Instance Reference
//! and Frame of Reference modules.

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;

use super::groups::is_spatial;
use super::item::{Put, clipped, line};
use super::voxels::Plan;
use super::{NewSegmentation, derived_uid};
use crate::Result;
use crate::dataset::text;
use crate::error::MissingAttributeSnafu;

pub(super) fn put(new: &NewSegmentation, plan: &Plan, object: &mut InMemDicomObject) -> Result<()> {
    let missing = |attribute| MissingAttributeSnafu { attribute, within: "the source image" }.build();
    let source_series =
        text(new.source, tags::SERIES_INSTANCE_UID).ok_or_else(|| missing("SeriesInstanceUID"))?;
    text(new.source, tags::STUDY_INSTANCE_UID).ok_or_else(|| missing("StudyInstanceUID"))?;
    put_identity(new, plan, object);
    put_image(new, plan, object);
    put_lossy_history(new.source, object);
    put_frame_of_reference(new, &source_series, object);
    put_references(new, &source_series, object);
    Ok(())
}

fn put_identity(new: &NewSegmentation, plan: &Plan, object: &mut InMemDicomObject) {
    let content = &new.content;
    let class = match plan.label_map {
        true => uids::LABEL_MAP_SEGMENTATION_STORAGE,
        false => uids::SEGMENTATION_STORAGE,
    };
    object.put_value(tags::SOP_CLASS_UID, VR::UI, class);
    object.put_value(tags::SOP_INSTANCE_UID, VR::UI, new.uids.sop_instance_uid.as_str());
    object.put_value(tags::INSTANCE_CREATION_DATE, VR::DA, content.date.as_str());
    object.put_value(tags::INSTANCE_CREATION_TIME, VR::TM, content.time.as_str());
    object.put_value(tags::MODALITY, VR::CS, "SEG");
    object.put_value(tags::SERIES_INSTANCE_UID, VR::UI, new.uids.series_instance_uid.as_str());
    object.put_value(tags::SERIES_NUMBER, VR::IS, content.series_number.to_string());
    object.put_value(tags::SERIES_DATE, VR::DA, content.date.as_str());
    object.put_value(tags::SERIES_TIME, VR::TM, content.time.as_str());
    object.put_value(tags::SERIES_DESCRIPTION, VR::LO, line(&content.series_description));
    object.put_value(tags::INSTANCE_NUMBER, VR::IS, "1");
}

fn put_image(new: &NewSegmentation, plan: &Plan, object: &mut InMemDicomObject) {
    let content = &new.content;
    let [rows, columns] =
        new.slices.first().map_or([0, 0], |slice| [slice.rows as u16, slice.columns as u16]);
    object.put_value(
        tags::IMAGE_TYPE,
        VR::CS,
        dicom_core::PrimitiveValue::Strs(["DERIVED", "PRIMARY"].map(str::to_owned).into()),
    );
    object.put_value(tags::CONTENT_DATE, VR::DA, content.date.as_str());
    object.put_value(tags::CONTENT_TIME, VR::TM, content.time.as_str());
    object.put_value(tags::CONTENT_LABEL, VR::CS, code_string(&content.label));
    object.put_value(tags::CONTENT_DESCRIPTION, VR::LO, line(&content.description));
    let creator = content.creator_name.as_deref().unwrap_or_default();
    object.put_value(tags::CONTENT_CREATOR_NAME, VR::PN, clipped(creator, 64));
    object.put_value(tags::NUMBER_OF_FRAMES, VR::IS, plan.frames.len().to_string());
    object.put_value(tags::ROWS, VR::US, rows);
    object.put_value(tags::COLUMNS, VR::US, columns);
    if plan.label_map {
        object.put_value(tags::SEGMENTATION_TYPE, VR::CS, "LABELMAP");
        // What no segment covers (PS3.3 C.7.5.1.1.2).
        object.put_value(tags::PIXEL_PADDING_VALUE, VR::US, 0u16);
    } else {
        object.put_value(tags::SEGMENTATION_TYPE, VR::CS, "BINARY");
    }
    object.put_value(tags::SEGMENTS_OVERLAP, VR::CS, if plan.overlap { "YES" } else { "NO" });
}

/// Lossy compression is never undone: a result drawn from lossy images says so (PS3.3 C.7.6.1.1.5).
pub fn put_lossy_history(source: &InMemDicomObject, object: &mut InMemDicomObject) {
    let lossy = text(source, tags::LOSSY_IMAGE_COMPRESSION).as_deref() == Some("01");
    object.put_value(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, if lossy { "01" } else { "00" });
    if lossy {
        for tag in [tags::LOSSY_IMAGE_COMPRESSION_RATIO, tags::LOSSY_IMAGE_COMPRESSION_METHOD] {
            if let Some(element) = source.get(tag) {
                object.put(element.clone());
            }
        }
    }
}

fn put_frame_of_reference(new: &NewSegmentation, source_series: &str, object: &mut InMemDicomObject) {
    if !is_spatial(new.slices) {
        // Without positions the direction of rows and columns is not known either (Type 2C, empty).
        object.put_empty(tags::PATIENT_ORIENTATION, VR::CS);
        return;
    }
    let named = new.slices.iter().find_map(|slice| slice.frame_of_reference_uid.clone());
    let uid = named.unwrap_or_else(|| derived_uid(source_series, "frame of reference"));
    object.put_value(tags::FRAME_OF_REFERENCE_UID, VR::UI, uid);
    let indicator = text(new.source, tags::POSITION_REFERENCE_INDICATOR).unwrap_or_default();
    object.put_value(tags::POSITION_REFERENCE_INDICATOR, VR::LO, indicator);
}

fn put_references(new: &NewSegmentation, source_series: &str, object: &mut InMemDicomObject) {
    let mut listed = std::collections::HashSet::new();
    let instances = new
        .slices
        .iter()
        .filter(|slice| listed.insert(slice.sop_instance_uid.as_str()))
        .map(|slice| {
            let mut item = InMemDicomObject::new_empty();
            item.put_value(tags::REFERENCED_SOP_CLASS_UID, VR::UI, slice.sop_class_uid.as_str());
            item.put_value(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, slice.sop_instance_uid.as_str());
            item
        })
        .collect();
    let mut series = InMemDicomObject::new_empty();
    series.put_items(tags::REFERENCED_INSTANCE_SEQUENCE, instances);
    series.put_value(tags::SERIES_INSTANCE_UID, VR::UI, source_series);
    object.put_items(tags::REFERENCED_SERIES_SEQUENCE, vec![series]);
}

/// Text as a CS value: upper-case letters, digits, space and underscore, at most 16 characters.
fn code_string(text: &str) -> String {
    let allowed = |c: char| match c.to_ascii_uppercase() {
        c @ ('A'..='Z' | '0'..='9' | ' ' | '_') => c,
        _ => '_',
    };
    let code: String = text.trim().chars().take(16).map(allowed).collect();
    if code.is_empty() { "SEGMENTATION".to_owned() } else { code }
}
