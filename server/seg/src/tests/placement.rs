//! Which slice a frame goes to.

use dicom_core::{DataElement, VR};
use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, InMemDicomObject};
use ndarray::Array3;

use super::{frames_without_place, request, slices, source};
use crate::*;

/// A SEG of one segment with another pattern on each of three slices.
fn seg(encoding: Encoding) -> (DefaultDicomObject, Vec<ReferencedSlice>, Array3<u8>) {
    let slices = slices(3, 4, 6);
    let mask = Array3::from_shape_fn((3, 4, 6), |(slice, row, column)| {
        u8::from((row * 7 + column * 3) % 5 <= slice)
    });
    let object = write(&request(&slices, &source(), std::slice::from_ref(&mask), encoding)).unwrap();
    (object, slices, mask)
}

/// Change the functional groups of every frame.
fn each_frame(object: &mut DefaultDicomObject, change: impl Fn(usize, &mut InMemDicomObject)) {
    object.update_value(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, |value| {
        value.items_mut().unwrap().iter_mut().enumerate().for_each(|(index, item)| change(index, item));
    });
}

fn forget_references(object: &mut DefaultDicomObject) {
    each_frame(object, |_, groups| {
        groups.remove_element(tags::DERIVATION_IMAGE_SEQUENCE);
    });
}

fn forget_positions(object: &mut DefaultDicomObject) {
    each_frame(object, |_, groups| {
        groups.remove_element(tags::PLANE_POSITION_SEQUENCE);
    });
}

#[test]
fn frames_go_by_reference_or_by_position() {
    for encoding in [Encoding::Binary, Encoding::LabelMap] {
        let (whole, slices, mask) = seg(encoding);
        let mut by_position = whole.clone();
        forget_references(&mut by_position);
        let mut by_reference = whole.clone();
        forget_positions(&mut by_reference);
        for object in [whole, by_position, by_reference] {
            assert_eq!(read(&object).unwrap().masks_on(1, &slices).unwrap().mask, mask);
        }
    }
}

#[test]
fn a_description_alone_says_where_frames_lie() {
    let (mut object, slices, _) = seg(Encoding::Binary);
    let placed =
        |object: &DefaultDicomObject, slices: &[ReferencedSlice]| -> Vec<Option<usize>> {
            let placements = describe(object).unwrap().placements(slices);
            assert!(placements.iter().flatten().all(|placement| placement.grid
                == GridMap { origin: [0, 0], row_step: [1, 0], column_step: [0, 1] }));
            placements.iter().map(|placement| placement.map(|placement| placement.slice)).collect()
        };
    assert_eq!(placed(&object, &slices), [Some(0), Some(1), Some(2)]);
    assert_eq!(placed(&object, &slices[1..]), [None, Some(0), Some(1)]);
    forget_references(&mut object);
    assert_eq!(placed(&object, &slices), [Some(0), Some(1), Some(2)]);
}

#[test]
fn one_frame_is_shown_on_its_slice_alone() {
    for encoding in [Encoding::Binary, Encoding::LabelMap] {
        let (object, slices, mask) = seg(encoding);
        let segmentation = read(&object).unwrap();
        for frame in 0..3 {
            let shown = segmentation.frame_on(frame, &slices).unwrap().unwrap();
            assert_eq!(shown.slice, frame);
            let expected: Vec<_> = mask
                .slice(ndarray::s![frame, .., ..])
                .iter()
                .map(|inside| (*inside == 1).then_some(SegmentPixel { segment: 1, fraction: 1.0 }))
                .collect();
            assert_eq!(shown.pixels, expected);
            assert_eq!(segmentation.frame_pixels(frame).unwrap().collect::<Vec<_>>(), expected);
        }
        assert_eq!(segmentation.frame_on(0, &slices[1..]).unwrap(), None);
        assert_eq!(segmentation.frame_on(3, &slices).unwrap(), None);
        assert!(segmentation.frame_pixels(3).is_none());
    }
}

#[test]
fn frames_follow_the_order_of_the_slices_given() {
    let (object, mut slices, mask) = seg(Encoding::Binary);
    slices.reverse();
    let found = read(&object).unwrap().masks_on(1, &slices).unwrap().mask;
    assert_eq!(found, mask.slice(ndarray::s![..;-1, .., ..]));
}

#[test]
fn frames_of_slices_not_given_are_listed() {
    let (object, slices, mask) = seg(Encoding::Binary);
    let found = read(&object).unwrap().masks_on(1, &slices[1..]).unwrap();
    assert_eq!(found.unplaced_frames, [0]);
    assert_eq!(found.mask, mask.slice(ndarray::s![1.., .., ..]));
}

#[test]
fn frames_that_name_other_images_go_by_position_only_when_asked() {
    let (object, mut slices, mask) = seg(Encoding::Binary);
    slices.iter_mut().for_each(|slice| slice.sop_instance_uid += ".9");
    let segmentation = read(&object).unwrap();
    assert!(matches!(segmentation.masks_on(1, &slices), Err(Error::NotOnSlices { number: 1, frames: 3 })));
    assert_eq!(segmentation.masks_by_geometry(1, &slices).unwrap().mask, mask);
    slices.iter_mut().for_each(|slice| slice.frame_of_reference_uid = Some("1.9".to_owned()));
    assert!(matches!(segmentation.masks_by_geometry(1, &slices), Err(Error::NotOnSlices { .. })));
}

#[test]
fn slices_seen_from_the_other_side_get_flipped_frames() {
    let (object, mut slices, mask) = seg(Encoding::Binary);
    for slice in &mut slices {
        let position = slice.position.unwrap();
        slice.position = Some([position[0] + 5.0 * 0.5, position[1], position[2]]);
        slice.orientation = Some([-1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    }
    let found = read(&object).unwrap().masks_on(1, &slices).unwrap().mask;
    assert_eq!(found, mask.slice(ndarray::s![.., .., ..;-1]));
}

#[test]
fn another_grid_is_refused() {
    let (object, mut slices, _) = seg(Encoding::Binary);
    slices.iter_mut().for_each(|slice| slice.pixel_spacing = Some([0.5, 0.5]));
    let segmentation = read(&object).unwrap();
    assert!(matches!(segmentation.masks_on(1, &slices), Err(Error::GridDiffers { frame: 1, slice: 0 })));
    let mut by_reference = object;
    forget_positions(&mut by_reference);
    slices.iter_mut().for_each(|slice| slice.rows += 1);
    let segmentation = read(&by_reference).unwrap();
    assert!(matches!(segmentation.masks_on(1, &slices), Err(Error::GridDiffers { .. })));
}

#[test]
fn a_reference_to_a_whole_multi_frame_image_needs_positions() {
    let (object, mut slices, mask) = seg(Encoding::Binary);
    for (frame, slice) in (1..).zip(&mut slices) {
        (slice.sop_instance_uid, slice.frame, slice.multi_frame) = ("1.2.3.1".to_owned(), frame, true);
    }
    let source_of = |groups: &mut InMemDicomObject| {
        let uid = DataElement::new(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, "1.2.3.1");
        groups.update_value(tags::DERIVATION_IMAGE_SEQUENCE, |value| {
            value.items_mut().unwrap()[0].update_value(tags::SOURCE_IMAGE_SEQUENCE, |value| {
                value.items_mut().unwrap()[0].put(uid.clone());
            });
        });
    };
    let mut whole = object;
    each_frame(&mut whole, |_, groups| source_of(groups));
    assert_eq!(read(&whole).unwrap().masks_on(1, &slices).unwrap().mask, mask);
    forget_positions(&mut whole);
    let segmentation = read(&whole).unwrap();
    assert!(matches!(segmentation.masks_on(1, &slices), Err(Error::AmbiguousReference { frame: 1 })));
}

#[test]
fn a_position_that_contradicts_the_reference_wins() {
    let (mut object, slices, mask) = seg(Encoding::Binary);
    // Frame n now lies where slice 3 - n is, but still refers to slice n.
    each_frame(&mut object, |index, groups| {
        groups.update_value(tags::PLANE_POSITION_SEQUENCE, |value| {
            let position = dicom_core::dicom_value!(Strs, ["-10.5", "4.25", &format!("{}", 2 * (2 - index))]);
            value.items_mut().unwrap()[0].put(DataElement::new(
                tags::IMAGE_POSITION_PATIENT,
                VR::DS,
                position,
            ));
        });
    });
    let found = read(&object).unwrap().masks_on(1, &slices).unwrap().mask;
    assert_eq!(found, mask.slice(ndarray::s![..;-1, .., ..]));
}

#[test]
fn a_single_image_without_place_needs_no_reference() {
    let slices = frames_without_place(1, 3, 3);
    let mask = Array3::<u8>::ones((1, 3, 3));
    let mut object =
        write(&request(&slices, &source(), std::slice::from_ref(&mask), Encoding::Binary)).unwrap();
    forget_references(&mut object);
    let segmentation = read(&object).unwrap();
    assert_eq!(segmentation.masks_on(1, &slices).unwrap().mask, mask);
    let mut other = slices.clone();
    other[0].sop_instance_uid = "1.9".to_owned();
    assert!(segmentation.masks_on(1, &other).is_err());
}

#[test]
fn fractions_are_shares_of_the_maximum() {
    let slices = slices(1, 1, 4);
    let mask = Array3::<u8>::ones((1, 1, 4));
    let mut object = write(&request(&slices, &source(), &[mask], Encoding::Binary)).unwrap();
    object.put(DataElement::new(tags::SEGMENTATION_TYPE, VR::CS, "FRACTIONAL"));
    object.put(DataElement::new(tags::SEGMENTATION_FRACTIONAL_TYPE, VR::CS, "PROBABILITY"));
    object.put(DataElement::new(
        tags::MAXIMUM_FRACTIONAL_VALUE,
        VR::US,
        dicom_core::PrimitiveValue::from(100u16),
    ));
    object.put(DataElement::new(tags::BITS_ALLOCATED, VR::US, dicom_core::PrimitiveValue::from(8u16)));
    object.put(DataElement::new(
        tags::PIXEL_DATA,
        VR::OB,
        dicom_core::PrimitiveValue::from(vec![0u8, 49, 50, 100]),
    ));
    let segmentation = read(&object).unwrap();
    assert_eq!(segmentation.masks_on(1, &slices).unwrap().mask.into_raw_vec_and_offset().0, [0, 0, 1, 1]);
    let fractions = segmentation.fractions_on(1, &slices).unwrap();
    assert_eq!(fractions.into_raw_vec_and_offset().0, [0.0, 0.49, 0.5, 1.0]);
}

#[test]
fn segments_and_slices_that_are_not_there() {
    let (object, slices, _) = seg(Encoding::Binary);
    let segmentation = read(&object).unwrap();
    assert!(matches!(segmentation.masks_on(2, &slices), Err(Error::NoSuchSegment { number: 2 })));
    assert!(matches!(segmentation.masks_on(1, &[]), Err(Error::NotOnSlices { .. })));
    let tight = read_within(&object, Limits { max_bytes: 20 }).unwrap();
    assert!(matches!(tight.masks_on(1, &slices), Err(Error::TooLarge { bytes: 72, limit: 20 })));
}
