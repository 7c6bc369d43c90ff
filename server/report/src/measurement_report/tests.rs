//! What the report says, item by item.

use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;
use ndarray::Array3;

use super::*;
use crate::testing::{segmented, slices_at};

/// Heights at which slices of 2 x 4 pixels lie, 0.375 mm2 each.
const HEIGHTS: [f64; 3] = [0.0, 2.0, 4.0];

fn series(segments: usize, with_frame_of_reference: bool) -> SegmentedSeries {
    let mut slices = slices_at(&HEIGHTS);
    if !with_frame_of_reference {
        for slice in &mut slices {
            (slice.frame_of_reference_uid, slice.position, slice.orientation) = (None, None, None);
        }
    }
    segmented(&Array3::from_elem((3, 2, 4), 1), segments, &slices)
}

fn made(series: &SegmentedSeries, referenced: ReferencedSegmentation) -> InMemDicomObject {
    let made = measurement_report(series, referenced).unwrap();
    assert_eq!(made, measurement_report(series, referenced).unwrap());
    dicom_object::from_reader(made.part10.as_slice()).unwrap().into_inner()
}

/// The items of a sequence.
fn items(object: &InMemDicomObject, tag: dicom_core::Tag) -> &[InMemDicomObject] {
    object.get(tag).and_then(InMemElement::items).unwrap_or_default()
}

/// Each content item below one, a line each: its depth, its name and what it says.
fn outline(item: &InMemDicomObject, depth: usize, lines: &mut Vec<String>) {
    for child in items(item, tags::CONTENT_SEQUENCE) {
        let name = items(child, tags::CONCEPT_NAME_CODE_SEQUENCE).first();
        let name = name.and_then(|name| text(name, tags::CODE_MEANING)).unwrap_or_default();
        let code = |tag| items(child, tag).first().and_then(|code| text(code, tags::CODE_VALUE));
        let number = items(child, tags::MEASURED_VALUE_SEQUENCE).first();
        let number = number.and_then(|value| text(value, tags::NUMERIC_VALUE));
        let image = items(child, tags::REFERENCED_SOP_SEQUENCE).first();
        let image = image.and_then(|image| text(image, tags::REFERENCED_SOP_INSTANCE_UID));
        let said = code(tags::CONCEPT_CODE_SEQUENCE)
            .or_else(|| text(child, tags::TEXT_VALUE))
            .or_else(|| text(child, tags::UID))
            .or(number)
            .or(image)
            .unwrap_or_default();
        lines.push(format!("{}{name}: {said}", "  ".repeat(depth)).trim_end().to_owned());
        outline(child, depth + 1, lines);
    }
}

#[test]
fn the_tree_is_that_of_the_template() {
    let report = made(&series(2, true), ReferencedSegmentation::Measured);
    assert_eq!(text(&report, tags::SOP_CLASS_UID).unwrap(), uids::COMPREHENSIVE3_DSR_STORAGE);
    let mut lines = Vec::new();
    outline(&report, 0, &mut lines);
    let device = derived_uid("Engram", "device");
    let tracking: Vec<String> =
        series(2, true).segments().map(|segment| segment.tracking_uid.clone().unwrap()).collect();
    let group = |number: usize, millilitres: &str| {
        [
            "  Measurement Group:".to_owned(),
            format!("    Tracking Identifier: Segment {number}"),
            format!("    Tracking Unique Identifier: {}", tracking[number - 1]),
            "    Finding category: 91723000".to_owned(),
            "    Finding: 64033007".to_owned(),
            "    Referenced Segment: 1.2.3.400".to_owned(),
            "    Source series for segmentation: 1.2.3.300".to_owned(),
            "    Finding Site: 64033007".to_owned(),
            "      Laterality: 24028007".to_owned(),
            "    Algorithm Name: test".to_owned(),
            "    Algorithm Version: 1".to_owned(),
            format!("    Volume: {millilitres}"),
        ]
    };
    let expected = [
        "Language of Content Item and Descendants: en",
        "Observer Type: 121007",
        &format!("Device Observer UID: {device}"),
        "Device Observer Name: Engram",
        "Device Observer Manufacturer: Engram",
        "Device Observer Model Name: Engram",
        "Device Observer Serial Number: 1",
        "Procedure reported: 25045-6",
        "Image Library:",
        "  Image Library Group:",
        "    Modality: CT",
        "    Frame of Reference UID: 1.2.3.100",
        "    Pixel Data Rows: 2",
        "    Pixel Data Columns: 4",
        "    Horizontal Pixel Spacing: 0.5",
        "    Vertical Pixel Spacing: 0.75",
        "    Spacing between slices: 2",
        "    : 1.2.3.1",
        "    : 1.2.3.2",
        "    : 1.2.3.3",
        "Imaging Measurements:",
    ];
    let expected = expected.into_iter().map(str::to_owned).chain(group(1, "0.018")).chain(group(2, "0"));
    assert_eq!(lines, expected.collect::<Vec<_>>());
}

#[test]
fn the_evidence_names_all_that_is_referred_to() {
    let report = made(&series(1, true), ReferencedSegmentation::Measured);
    let studies = items(&report, tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE);
    let series = |study| items(study, tags::REFERENCED_SERIES_SEQUENCE);
    let instances = |series| {
        let instances = items(series, tags::REFERENCED_SOP_SEQUENCE).iter();
        instances.filter_map(|item| text(item, tags::REFERENCED_SOP_INSTANCE_UID)).collect::<Vec<_>>()
    };
    let listed: Vec<Vec<String>> = studies.iter().flat_map(series).map(instances).collect();
    assert_eq!(listed, [vec!["1.2.3.1", "1.2.3.2", "1.2.3.3"], vec!["1.2.3.400"]]);
}

#[test]
fn without_a_frame_of_reference_it_is_a_comprehensive_sr_without_volumes() {
    let report = made(&series(1, false), ReferencedSegmentation::Measured);
    assert_eq!(text(&report, tags::SOP_CLASS_UID).unwrap(), uids::COMPREHENSIVE_SR_STORAGE);
    let mut lines = Vec::new();
    outline(&report, 0, &mut lines);
    assert!(!lines.iter().any(|line| line.contains("Volume")), "{lines:#?}");
}

#[test]
fn a_report_on_the_binary_seg_is_another_document() {
    let series = series(1, true);
    let binary = ResultUids::of_binary(series.description());
    let (stored, other) =
        (made(&series, ReferencedSegmentation::Measured), made(&series, ReferencedSegmentation::Binary));
    assert_ne!(text(&stored, tags::SOP_INSTANCE_UID), text(&other, tags::SOP_INSTANCE_UID));
    let mut lines = Vec::new();
    outline(&other, 0, &mut lines);
    assert!(lines.contains(&format!("    Referenced Segment: {}", binary.sop_instance_uid)), "{lines:#?}");
}
