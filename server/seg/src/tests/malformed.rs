//! Objects that are wrong give errors: no panic, no allocation that the object does not back.

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{DefaultDicomObject, InMemDicomObject};
use ndarray::Array3;
use proptest::prelude::*;

use super::{request, slices, source};
use crate::*;

fn seg(encoding: Encoding) -> DefaultDicomObject {
    let mask = Array3::<u8>::ones((3, 4, 6));
    write(&request(&slices(3, 4, 6), &source(), &[mask], encoding)).unwrap()
}

#[test]
fn required_attributes_that_are_absent() {
    let required = [
        tags::SOP_CLASS_UID,
        tags::SOP_INSTANCE_UID,
        tags::STUDY_INSTANCE_UID,
        tags::SERIES_INSTANCE_UID,
        tags::SEGMENTATION_TYPE,
        tags::SEGMENT_SEQUENCE,
        tags::NUMBER_OF_FRAMES,
        tags::ROWS,
        tags::COLUMNS,
        tags::BITS_ALLOCATED,
        tags::PIXEL_DATA,
        tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
    ];
    for tag in required {
        let mut object = seg(Encoding::Binary);
        object.remove_element(tag);
        assert!(read(&object).is_err(), "{tag}");
    }
}

#[test]
fn values_that_lie() {
    let number = |tag: Tag, value: &str| DataElement::new(tag, VR::IS, value);
    let short = |tag: Tag, value: u16| DataElement::new(tag, VR::US, PrimitiveValue::from(value));
    let cases = [
        ("zero frames", number(tags::NUMBER_OF_FRAMES, "0")),
        ("a frame too many", number(tags::NUMBER_OF_FRAMES, "4")),
        ("a frame too few", number(tags::NUMBER_OF_FRAMES, "2")),
        ("two thousand million frames", number(tags::NUMBER_OF_FRAMES, "2147483647")),
        ("negative frames", number(tags::NUMBER_OF_FRAMES, "-3")),
        ("frames that are no number", number(tags::NUMBER_OF_FRAMES, "three")),
        ("no rows", short(tags::ROWS, 0)),
        ("more rows", short(tags::ROWS, 65535)),
        ("fewer columns", short(tags::COLUMNS, 1)),
        ("bits that no SEG has", short(tags::BITS_ALLOCATED, 12)),
        ("bits of another type", short(tags::BITS_ALLOCATED, 8)),
        ("another type", DataElement::new(tags::SEGMENTATION_TYPE, VR::CS, "SURFACE")),
        ("another class", DataElement::new(tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE)),
        ("short pixels", DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::from(vec![0u8; 4]))),
        ("long pixels", DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::from(vec![0u8; 400]))),
        ("text for pixels", DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::Empty)),
    ];
    for (name, element) in cases {
        let mut object = seg(Encoding::Binary);
        object.put(element);
        assert!(read(&object).is_err(), "{name}");
    }
}

#[test]
fn tiles_that_do_not_add_up() {
    let mut object = seg(Encoding::Binary);
    object.remove_element(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE);
    object.put(DataElement::new(tags::DIMENSION_ORGANIZATION_TYPE, VR::CS, "TILED_FULL"));
    assert!(matches!(read(&object), Err(Error::FrameCount { declared: 3, described: 0 })));
    for (rows, expected) in [(4u32, false), (12, true), (u32::MAX, false)] {
        object.put(DataElement::new(tags::TOTAL_PIXEL_MATRIX_ROWS, VR::UL, PrimitiveValue::from(rows)));
        object.put(DataElement::new(tags::TOTAL_PIXEL_MATRIX_COLUMNS, VR::UL, PrimitiveValue::from(6u32)));
        assert_eq!(read(&object).is_ok(), expected, "{rows}");
    }
}

#[test]
fn segments_that_are_wrong() {
    type Change = fn(&mut InMemDicomObject);
    let changes: [(&str, Change); 4] = [
        ("no number", |item| {
            item.remove_element(tags::SEGMENT_NUMBER);
        }),
        ("another number than the frames'", |item| {
            item.put(DataElement::new(tags::SEGMENT_NUMBER, VR::US, PrimitiveValue::from(2u16)));
        }),
        ("no type", |item| {
            item.remove_element(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE);
        }),
        ("an algorithm of no kind", |item| {
            item.put(DataElement::new(tags::SEGMENT_ALGORITHM_TYPE, VR::CS, "MAGIC"));
        }),
    ];
    for (name, change) in changes {
        let mut object = seg(Encoding::Binary);
        object.update_value(tags::SEGMENT_SEQUENCE, |value| change(&mut value.items_mut().unwrap()[0]));
        assert!(read(&object).is_err(), "{name}");
    }
    let mut twice = seg(Encoding::Binary);
    twice.update_value(tags::SEGMENT_SEQUENCE, |value| {
        let items = value.items_mut().unwrap();
        let first = items[0].clone();
        items.push(first);
    });
    assert!(matches!(read(&twice), Err(Error::InvalidAttribute { attribute: "SegmentNumber", .. })));
}

#[test]
fn compressed_data_that_is_nothing() {
    for (syntax, fragments) in [
        (uids::RLE_LOSSLESS, vec![]),
        (uids::RLE_LOSSLESS, vec![vec![1u8; 64]; 3]),
        (uids::JPEG2000_LOSSLESS, vec![vec![0xff, 0x4f]; 3]),
        (uids::DEFLATED_IMAGE_FRAME_COMPRESSION, vec![vec![7u8; 10]; 3]),
    ] {
        let mut object = seg(Encoding::LabelMap);
        object.update_meta(|meta| meta.transfer_syntax = syntax.to_owned());
        let sequence = dicom_core::value::PixelFragmentSequence::new_fragments(fragments);
        object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, sequence));
        assert!(read(&object).is_err(), "{syntax}");
    }
}

/// What may befall an element.
#[derive(Debug, Clone)]
enum Harm {
    Removed,
    Emptied,
    Said(String),
    Counted(i32),
    Filled(Vec<u8>),
    EmptySequence,
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        Just(Harm::Removed),
        Just(Harm::Emptied),
        "[0-9.\\\\eE+A-Z-]{0,12}".prop_map(Harm::Said),
        any::<i32>().prop_map(Harm::Counted),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Harm::Filled),
        Just(Harm::EmptySequence),
    ]
}

/// Do harm to the element of a number, counting through all items; what is left of the number otherwise.
fn inflict(object: &mut InMemDicomObject, mut number: usize, harm: &Harm) -> Option<usize> {
    for tag in object.tags().collect::<Vec<_>>() {
        if number == 0 {
            let vr = object.get(tag).unwrap().vr();
            let empty: Vec<InMemDicomObject> = Vec::new();
            match harm.clone() {
                Harm::Removed => drop(object.take(tag)),
                Harm::Emptied => drop(object.put(DataElement::new(tag, vr, PrimitiveValue::Empty))),
                Harm::Said(text) => drop(object.put(DataElement::new(tag, vr, text))),
                Harm::Counted(value) => {
                    drop(object.put(DataElement::new(tag, vr, PrimitiveValue::from(value))))
                }
                Harm::Filled(bytes) => {
                    drop(object.put(DataElement::new(tag, vr, PrimitiveValue::from(bytes))))
                }
                Harm::EmptySequence => drop(object.put(DataElement::new(
                    tag,
                    VR::SQ,
                    dicom_core::value::DataSetSequence::from(empty),
                ))),
            }
            return None;
        }
        number -= 1;
        let mut left = Some(number);
        object.update_value(tag, |value| {
            for item in value.items_mut().into_iter().flatten() {
                left = left.and_then(|number| inflict(item, number, harm));
            }
        });
        number = left?;
    }
    Some(number)
}

proptest! {
    #[test]
    fn harmed_objects_never_panic(
        encoding in prop::sample::select(vec![Encoding::Binary, Encoding::LabelMap]),
        harms in prop::collection::vec((0usize..200, harm()), 1..6),
    ) {
        let mut object = seg(encoding);
        for (number, harm) in harms {
            inflict(&mut object, number, &harm);
        }
        let _ = ReferencedSlice::of_instance(&object);
        if let Ok(segmentation) = read(&object) {
            for number in 0..3 {
                let _ = segmentation.masks_on(number, &slices(3, 4, 6));
                let _ = segmentation.masks_by_geometry(number, &slices(3, 4, 6));
                let _ = segmentation.fractions_on(number, &slices(3, 4, 6));
                let _ = segmentation.frame_mask(usize::from(number), number);
            }
            let placements = segmentation.description.placements(&slices(3, 4, 6));
            for (frame, placement) in placements.into_iter().enumerate() {
                if let Some(Placement { slice, grid }) = placement {
                    let _ = segmentation.pixels_on(frame, &grid, &slices(3, 4, 6)[slice]);
                }
            }
            let uids = ResultUids::of_binary(&segmentation.description);
            let _ = to_binary(object, &uids, Limits::default());
        }
    }
}
