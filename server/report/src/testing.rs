//! A made-up SEG on made-up slices.

use dicom_core::{DataElement, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{DefaultDicomObject, FileMetaTableBuilder, InMemDicomObject};
use engram_seg::put::{Put, decimals};
use engram_seg::{
    AlgorithmIdentification, AlgorithmType, Code, Content, Encoding, Equipment, LabelConcept, Limits,
    NewSegment, NewSegmentation, ReferencedSlice, ResultUids, Segment, SegmentProvenance, Voxels, write,
};
use ndarray::Array3;

use crate::SegmentedSeries;

/// Axial slices of 2 x 4 pixels, 0.75 mm between rows and 0.5 mm between columns, at these heights.
pub(crate) fn slices_at(offsets: &[f64]) -> Vec<ReferencedSlice> {
    let slice = |(index, offset): (usize, &f64)| ReferencedSlice {
        sop_class_uid: uids::CT_IMAGE_STORAGE.to_owned(),
        sop_instance_uid: format!("1.2.3.{}", index + 1),
        frame: 1,
        multi_frame: false,
        frame_of_reference_uid: Some("1.2.3.100".to_owned()),
        position: Some([-10.0, 5.0, *offset]),
        orientation: Some([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
        rows: 2,
        columns: 4,
        pixel_spacing: Some([0.75, 0.5]),
    };
    offsets.iter().enumerate().map(slice).collect()
}

/// What the image of a slice says, with pixels of one grey.
pub(crate) fn image(slice: &ReferencedSlice) -> InMemDicomObject {
    let mut image = InMemDicomObject::from_element_iter([
        DataElement::new(tags::PATIENT_NAME, VR::PN, "Doe^Jane"),
        DataElement::new(tags::PATIENT_ID, VR::LO, "P1"),
        DataElement::new(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.3.200"),
        DataElement::new(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.300"),
        DataElement::new(tags::MODALITY, VR::CS, "CT"),
        DataElement::new(tags::SOP_CLASS_UID, VR::UI, slice.sop_class_uid.as_str()),
        DataElement::new(tags::SOP_INSTANCE_UID, VR::UI, slice.sop_instance_uid.as_str()),
    ]);
    if let Some(uid) = &slice.frame_of_reference_uid {
        image.put_value(tags::FRAME_OF_REFERENCE_UID, VR::UI, uid.as_str());
    }
    if let Some(position) = slice.position {
        image.put_value(tags::IMAGE_POSITION_PATIENT, VR::DS, decimals(&position));
    }
    if let Some(orientation) = slice.orientation {
        image.put_value(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, decimals(&orientation));
    }
    if let Some(spacing) = slice.pixel_spacing {
        image.put_value(tags::PIXEL_SPACING, VR::DS, decimals(&spacing));
    }
    image.put_value(tags::ROWS, VR::US, slice.rows as u16);
    image.put_value(tags::COLUMNS, VR::US, slice.columns as u16);
    image.put_value(tags::SAMPLES_PER_PIXEL, VR::US, 1u16);
    image.put_value(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
    image.put_value(tags::BITS_ALLOCATED, VR::US, 8u16);
    image.put_value(tags::BITS_STORED, VR::US, 8u16);
    image.put_value(tags::HIGH_BIT, VR::US, 7u16);
    image.put_value(tags::PIXEL_REPRESENTATION, VR::US, 0u16);
    image.put_value(
        tags::PIXEL_DATA,
        VR::OB,
        dicom_core::PrimitiveValue::from(vec![GREY; slice.rows * slice.columns]),
    );
    image
}

/// The grey of those images.
pub(crate) const GREY: u8 = 100;

/// The image as a file.
pub(crate) fn image_file(slice: &ReferencedSlice) -> DefaultDicomObject {
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    image(slice).with_meta(meta).unwrap()
}

/// A LABELMAP of right kidneys on the slices.
pub(crate) fn segmentation(
    labels: &Array3<u16>,
    segments: usize,
    slices: &[ReferencedSlice],
) -> DefaultDicomObject {
    let source = image(&slices[0]);
    let segment = |number| NewSegment {
        label: format!("Segment {number}"),
        description: None,
        concept: LabelConcept {
            category: Some(Code::new("91723000", "SCT", "Anatomical Structure")),
            property_type: Code::new("64033007", "SCT", "Kidney"),
            modifiers: vec![Code::new("24028007", "SCT", "Right")],
        },
        anatomic_regions: vec![],
        algorithm_type: AlgorithmType::Automatic,
        tracking_id: None,
        tracking_uid: None,
        recommended_cielab: None,
        provenance: Some(SegmentProvenance {
            exemplars: 3,
            similarity: 0.5,
            confidence: 0.25,
            bundle: "test 1".to_owned(),
            review: vec![],
        }),
    };
    let new = NewSegmentation {
        slices,
        source: &source,
        voxels: Voxels::LabelMap(labels.view()),
        segments: (1..=segments).map(segment).collect(),
        encoding: Encoding::LabelMap,
        uids: ResultUids {
            sop_instance_uid: "1.2.3.400".to_owned(),
            series_instance_uid: "1.2.3.500".to_owned(),
        },
        content: Content {
            series_number: 7,
            series_description: "Test".to_owned(),
            label: "TEST".to_owned(),
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
    };
    write(&new).unwrap()
}

/// That SEG on its series.
pub(crate) fn segmented(
    labels: &Array3<u16>,
    segments: usize,
    slices: &[ReferencedSlice],
) -> SegmentedSeries {
    let segmentation = segmentation(labels, segments, slices);
    SegmentedSeries::new(segmentation, image(&slices[0]), slices.to_vec(), Limits::default()).unwrap()
}

/// Segments that differ by name and number.
pub(crate) fn named_segments(names: &[&str]) -> Vec<Segment> {
    let slices = slices_at(&[0.0]);
    let series = segmented(&Array3::from_elem((1, 2, 4), 1), names.len(), &slices);
    let named = |(segment, name): (&Segment, &&str)| Segment { label: (*name).to_owned(), ..segment.clone() };
    series.segments().zip(names).map(named).collect()
}
