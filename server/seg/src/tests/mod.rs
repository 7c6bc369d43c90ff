//! Tests of reading, placing and writing together, on made-up slices.

mod binary;
mod malformed;
mod placement;
mod round_trip;

use dicom_core::{DataElement, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{DefaultDicomObject, InMemDicomObject};
use ndarray::Array3;

use crate::*;

/// Axial slices, 2 mm apart, of `rows` x `columns` pixels.
pub(super) fn slices(count: usize, rows: usize, columns: usize) -> Vec<ReferencedSlice> {
    (0..count)
        .map(|index| ReferencedSlice {
            sop_class_uid: uids::MR_IMAGE_STORAGE.to_owned(),
            sop_instance_uid: format!("1.2.3.{}", index + 1),
            frame: 1,
            multi_frame: false,
            frame_of_reference_uid: Some("1.2.3.100".to_owned()),
            position: Some([-10.5, 4.25, 2.0 * index as f64]),
            orientation: Some([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
            rows,
            columns,
            pixel_spacing: Some([0.75, 0.5]),
        })
        .collect()
}

/// The same slices as frames of one instance, without any place.
pub(super) fn frames_without_place(count: usize, rows: usize, columns: usize) -> Vec<ReferencedSlice> {
    let mut slices = slices(count, rows, columns);
    for (frame, slice) in (1..).zip(&mut slices) {
        slice.sop_class_uid = uids::ULTRASOUND_MULTI_FRAME_IMAGE_STORAGE.to_owned();
        slice.sop_instance_uid = "1.2.3.1".to_owned();
        slice.frame = frame;
        slice.multi_frame = count > 1;
        slice.frame_of_reference_uid = None;
        slice.position = None;
        slice.orientation = None;
    }
    slices
}

pub(super) fn source() -> InMemDicomObject {
    InMemDicomObject::from_element_iter([
        DataElement::new(tags::PATIENT_NAME, VR::PN, "Müller^Änne"),
        DataElement::new(tags::PATIENT_ID, VR::LO, "P1"),
        DataElement::new(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.3.200"),
        DataElement::new(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.300"),
    ])
}

pub(super) fn segment(number: usize) -> NewSegment {
    NewSegment {
        label: format!("Segment {number}"),
        description: None,
        concept: LabelConcept {
            category: None,
            property_type: Code::new(format!("{number}"), "99TEST", "Thing"),
            modifiers: vec![Code::new("G-A100", "SRT", "Right")],
        },
        anatomic_regions: vec![AnatomicRegion {
            region: Code::new("113345001", "SCT", "Abdomen"),
            modifiers: vec![Code::new("7771000", "SCT", "Left")],
        }],
        algorithm_type: AlgorithmType::Automatic,
        tracking_id: None,
        tracking_uid: None,
        recommended_cielab: Some([1, 2, 3]),
        provenance: Some(SegmentProvenance {
            exemplars: 3,
            similarity: 0.5,
            confidence: 0.25,
            bundle: "test 1".to_owned(),
            review: vec![ReviewedSlice { sop_instance_uid: "1.2.3".to_owned(), frame: 2, confidence: 0.125 }],
        }),
    }
}

pub(super) fn request<'a>(
    slices: &'a [ReferencedSlice],
    source: &'a InMemDicomObject,
    masks: &'a [Array3<u8>],
    encoding: Encoding,
) -> NewSegmentation<'a> {
    NewSegmentation {
        slices,
        source,
        voxels: Voxels::Masks(masks.iter().map(|mask| mask.view()).collect()),
        segments: (1..=masks.len()).map(segment).collect(),
        encoding,
        uids: ResultUids {
            sop_instance_uid: "1.2.3.400".to_owned(),
            series_instance_uid: "1.2.3.500".to_owned(),
        },
        content: Content {
            series_number: 7,
            series_description: "Test".to_owned(),
            label: "test-1".to_owned(),
            description: String::new(),
            creator_name: None,
            date: "20260101".to_owned(),
            time: "120000".to_owned(),
        },
        equipment: Equipment {
            manufacturer: "Engram".to_owned(),
            model_name: "engram".to_owned(),
            device_serial_number: "1".to_owned(),
            software_versions: "1".to_owned(),
            contribution: "Test".to_owned(),
        },
        algorithm: Some(AlgorithmIdentification { name: "test".to_owned(), version: "1".to_owned() }),
    }
}

/// Through the file and back.
pub(super) fn reopened(object: &DefaultDicomObject) -> DefaultDicomObject {
    dicom_object::from_reader(to_part10(object).unwrap().as_slice()).unwrap()
}
