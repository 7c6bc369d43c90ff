//! A LABELMAP becomes a BINARY SEG that says the same.

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use dicom_object::DefaultDicomObject;
use ndarray::Array3;
use proptest::prelude::*;

use super::{frames_without_place, reopened, request, slices, source};
use crate::put::Put;
use crate::*;

const SHAPE: (usize, usize, usize) = (4, 3, 5);

fn label_map(labels: &Array3<u16>, segments: usize, slices: &[ReferencedSlice]) -> DefaultDicomObject {
    let source = source();
    let new = NewSegmentation {
        voxels: Voxels::LabelMap(labels.view()),
        segments: (1..=segments).map(super::segment).collect(),
        ..request(slices, &source, &[], Encoding::LabelMap)
    };
    reopened(&write(&new).unwrap())
}

fn made(object: &DefaultDicomObject) -> Result<DefaultDicomObject> {
    let uids = ResultUids::of_binary(&describe(object).unwrap());
    to_binary(object.clone(), &uids, Limits::default()).map(|made| reopened(&made))
}

proptest! {
    #[test]
    fn masks_and_segments_stay(
        values in prop::collection::vec(0u16..4, SHAPE.0 * SHAPE.1 * SHAPE.2),
        empty in prop::collection::vec(any::<bool>(), SHAPE.0),
        spatial: bool,
    ) {
        let mut labels = Array3::from_shape_vec(SHAPE, values).unwrap();
        for (mut slice, empty) in labels.outer_iter_mut().zip(empty) {
            if empty {
                slice.fill(0);
            }
        }
        let (count, rows, columns) = SHAPE;
        let slices = if spatial { slices(count, rows, columns) } else { frames_without_place(count, rows, columns) };
        let old = read(&label_map(&labels, 3, &slices)).unwrap();
        let new = read(&made(&label_map(&labels, 3, &slices)).unwrap()).unwrap();
        prop_assert_eq!(new.description.segmentation_type, SegmentationType::Binary);
        let words = |seg: &Segmentation| seg.description.segments.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>();
        prop_assert_eq!(words(&new), words(&old));
        prop_assert_eq!(&new.description.referenced_series, &old.description.referenced_series);
        for number in 1..=3 {
            let found = new.masks_on(number, &slices).unwrap();
            prop_assert_eq!(&found.mask, &old.masks_on(number, &slices).unwrap().mask);
            let held: Vec<bool> = found.mask.outer_iter().map(|slice| slice.iter().any(|voxel| *voxel != 0)).collect();
            if labels.iter().any(|label| *label != 0) {
                prop_assert_eq!(found.frames_present, held);
            }
        }
    }
}

#[test]
fn doing_it_twice_makes_the_same_file() {
    let labels = Array3::from_shape_fn(SHAPE, |(slice, row, _)| ((slice + row) % 3) as u16);
    let old = label_map(&labels, 2, &slices(SHAPE.0, SHAPE.1, SHAPE.2));
    let (first, second) = (made(&old).unwrap(), made(&old).unwrap());
    assert_eq!(to_part10(&first).unwrap(), to_part10(&second).unwrap());
    let (old, new) = (describe(&old).unwrap(), describe(&first).unwrap());
    assert_eq!(new.sop_class_uid, uids::SEGMENTATION_STORAGE);
    assert_eq!(first.meta().media_storage_sop_class_uid(), uids::SEGMENTATION_STORAGE);
    assert_ne!(new.sop_instance_uid, old.sop_instance_uid);
    assert_ne!(new.series_instance_uid, old.series_instance_uid);
    assert_eq!(new.content_date_time, old.content_date_time);
}

#[test]
fn numbers_with_gaps_and_a_listed_background_become_one_two_three() {
    let labels = Array3::from_shape_fn(SHAPE, |(_, row, _)| row as u16);
    let slices = slices(SHAPE.0, SHAPE.1, SHAPE.2);
    let mut object = label_map(&labels, 3, &slices);
    // Segment 1 becomes the background: 2 and 3 are left, and no pixel is in 3.
    object.put_value(tags::PIXEL_PADDING_VALUE, VR::US, 1u16);
    let made = read(&made(&object).unwrap()).unwrap();
    let numbers: Vec<(u16, &str)> =
        made.description.segments.iter().map(|segment| (segment.number, segment.label.as_str())).collect();
    assert_eq!(numbers, [(1, "Segment 2"), (2, "Segment 3")]);
    assert_eq!(made.masks_on(1, &slices).unwrap().mask, labels.mapv(|label| u8::from(label == 2)));
    assert!(made.masks_on(2, &slices).unwrap().mask.iter().all(|voxel| *voxel == 0));
    assert_eq!(made.description.background, None);
}

#[test]
fn what_cannot_be_made_is_refused() {
    let labels = Array3::from_elem(SHAPE, 1u16);
    let slices = slices(SHAPE.0, SHAPE.1, SHAPE.2);
    let object = label_map(&labels, 1, &slices);
    let uids = ResultUids::of_binary(&describe(&object).unwrap());
    let small = Limits { max_bytes: 7 };
    assert!(matches!(to_binary(object.clone(), &uids, small), Err(Error::TooLarge { .. })));
    let binary = to_binary(object, &uids, Limits::default()).unwrap();
    assert!(matches!(to_binary(binary, &uids, Limits::default()), Err(Error::NotBinary { .. })));
}
