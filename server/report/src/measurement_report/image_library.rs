//! The images that were measured (TID 1600), with what they have in common (TID 1602, 1604).

use dicom_dictionary_std::tags;
use engram_seg::{Code, ReferencedSlice, slice_thickness};

use super::content::{ImageReference, Item, Relationship};
use super::dcm;
use crate::SegmentedSeries;
use crate::identity::text;
use crate::stack;

const CONTEXT: Relationship = Relationship::HasAcquisitionContext;

pub(super) fn item(series: &SegmentedSeries) -> Item {
    let mut group = of_all(series);
    group.extend(of_grid(series));
    group.extend(images(series));
    let group = Item::container(Relationship::Contains, dcm("126200", "Image Library Group"), group);
    Item::container(Relationship::Contains, dcm("111028", "Image Library"), vec![group]).of_template("1600")
}

/// Each instance, in the order of the slices.
fn images(series: &SegmentedSeries) -> impl Iterator<Item = Item> {
    series.instances().map(|slice| {
        let reference = ImageReference {
            sop_class_uid: slice.sop_class_uid.clone(),
            sop_instance_uid: slice.sop_instance_uid.clone(),
            segment: None,
        };
        Item::image(Relationship::Contains, None, reference)
    })
}

/// What any images have in common.
fn of_all(series: &SegmentedSeries) -> Vec<Item> {
    let mut items = Vec::new();
    if let Some(modality) = text(&series.source, tags::MODALITY) {
        let meaning = meaning_of_modality(&modality);
        let code = dcm(&modality, meaning.unwrap_or(&modality));
        items.push(Item::code(CONTEXT, dcm("121139", "Modality"), code));
    }
    let frame_of_reference = series.slices().iter().find_map(|slice| slice.frame_of_reference_uid.as_ref());
    if let Some(uid) = frame_of_reference {
        items.push(Item::uid(CONTEXT, dcm("112227", "Frame of Reference UID"), uid));
    }
    items
}

/// What slices have in common where their grid is one.
fn of_grid(series: &SegmentedSeries) -> Vec<Item> {
    let slices = series.slices();
    let Some(first) = slices.first() else { return Vec::new() };
    let grid = |slice: &ReferencedSlice| (slice.rows, slice.columns, slice.pixel_spacing);
    if slices.iter().any(|slice| grid(slice) != grid(first)) {
        return Vec::new();
    }
    let pixels = |name, value: usize| {
        Item::number(CONTEXT, name, value as f64, Code::new("{pixels}", "UCUM", "pixels"))
    };
    let millimetres =
        |name, value: f64| Item::number(CONTEXT, name, value, Code::new("mm", "UCUM", "millimeter"));
    let mut items = vec![
        pixels(dcm("110910", "Pixel Data Rows"), first.rows),
        pixels(dcm("110911", "Pixel Data Columns"), first.columns),
    ];
    if let Some([between_rows, between_columns]) = first.pixel_spacing {
        items.push(millimetres(dcm("111026", "Horizontal Pixel Spacing"), between_columns));
        items.push(millimetres(dcm("111066", "Vertical Pixel Spacing"), between_rows));
    }
    if let Some(spacing) = stack::even_spacing(slices) {
        items.push(millimetres(dcm("112226", "Spacing between slices"), spacing));
    }
    if let Some(thickness) = slice_thickness(&series.source) {
        items.push(millimetres(dcm("112225", "Slice Thickness"), thickness));
    }
    items
}

/// Of CID 29.
fn meaning_of_modality(modality: &str) -> Option<&'static str> {
    Some(match modality {
        "CT" => "Computed Tomography",
        "MR" => "Magnetic Resonance",
        "PT" => "Positron emission tomography",
        "NM" => "Nuclear Medicine",
        "US" => "Ultrasound",
        "XA" => "X-Ray Angiography",
        "CR" => "Computed Radiography",
        "DX" => "Digital Radiography",
        "MG" => "Mammography",
        _ => return None,
    })
}
