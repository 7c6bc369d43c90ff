//! What is written is read back.

use dicom_dictionary_std::{tags, uids};
use ndarray::{Array3, Axis};
use proptest::prelude::*;

use super::{frames_without_place, reopened, request, segment, slices, source};
use crate::*;

/// Masks of up to `segments` segments over a random small volume, most slices empty.
fn masks() -> impl Strategy<Value = Vec<Array3<u8>>> {
    (1usize..5, 1usize..5, 1usize..20, 1usize..20).prop_flat_map(|(segments, slices, rows, columns)| {
        let slice = prop_oneof![
            2 => Just(vec![0u8; rows * columns]),
            1 => prop::collection::vec(0u8..2, rows * columns),
        ];
        let volume = prop::collection::vec(slice, slices).prop_map(move |planes| {
            Array3::from_shape_vec((slices, rows, columns), planes.concat()).unwrap()
        });
        prop::collection::vec(volume, segments)
    })
}

/// Each voxel left to the first segment that has it.
fn without_overlap(masks: &mut [Array3<u8>]) {
    let mut taken = Array3::<u8>::zeros(masks[0].raw_dim());
    for mask in masks {
        ndarray::Zip::from(mask).and(&mut taken).for_each(|voxel, taken| {
            *voxel &= 1 - *taken;
            *taken |= *voxel;
        });
    }
}

fn held(mask: &Array3<u8>) -> Vec<bool> {
    mask.axis_iter(Axis(0)).map(|slice| slice.iter().any(|voxel| *voxel != 0)).collect()
}

proptest! {
    #[test]
    fn binary_masks_come_back(masks in masks(), spatial: bool) {
        let (count, rows, columns) = masks[0].dim();
        let slices = if spatial { slices(count, rows, columns) } else { frames_without_place(count, rows, columns) };
        let source = source();
        let written = write(&request(&slices, &source, &masks, Encoding::Binary)).unwrap();
        let segmentation = read(&reopened(&written)).unwrap();
        let nothing = masks.iter().all(|mask| mask.iter().all(|voxel| *voxel == 0));
        for (number, mask) in (1..).zip(&masks) {
            let found = segmentation.masks_on(number, &slices).unwrap();
            prop_assert_eq!(&found.mask, mask);
            if !nothing {
                prop_assert_eq!(found.frames_present, held(mask));
            }
        }
    }

    #[test]
    fn label_maps_come_back(mut masks in masks(), spatial: bool) {
        without_overlap(&mut masks);
        let (count, rows, columns) = masks[0].dim();
        let slices = if spatial { slices(count, rows, columns) } else { frames_without_place(count, rows, columns) };
        let source = source();
        let written = write(&request(&slices, &source, &masks, Encoding::Automatic)).unwrap();
        let segmentation = read(&reopened(&written)).unwrap();
        prop_assert_eq!(segmentation.description.segmentation_type, SegmentationType::LabelMap);
        for (number, mask) in (1..).zip(&masks) {
            prop_assert_eq!(&segmentation.masks_on(number, &slices).unwrap().mask, mask);
        }
    }
}

#[test]
fn a_label_volume_and_its_masks_are_written_alike() {
    let labels = Array3::from_shape_fn((2, 3, 5), |(slice, row, column)| ((slice + row + column) % 3) as u16);
    let masks: Vec<Array3<u8>> =
        (1..3).map(|number| labels.mapv(|label| u8::from(label == number))).collect();
    let (slices, source) = (slices(2, 3, 5), source());
    for encoding in [Encoding::Binary, Encoding::LabelMap] {
        let by_masks = request(&slices, &source, &masks, encoding);
        let by_labels = NewSegmentation { voxels: Voxels::LabelMap(labels.view()), ..by_masks.clone() };
        assert_eq!(
            to_part10(&write(&by_masks).unwrap()).unwrap(),
            to_part10(&write(&by_labels).unwrap()).unwrap(),
            "{encoding:?}"
        );
    }
}

#[test]
fn more_segments_than_a_byte_holds_take_sixteen_bits() {
    let labels = Array3::from_shape_fn((1, 20, 20), |(_, row, column)| (row * 20 + column) as u16);
    let (slices, source) = (slices(1, 20, 20), source());
    let new = NewSegmentation {
        voxels: Voxels::LabelMap(labels.view()),
        segments: (1..400).map(segment).collect(),
        ..request(&slices, &source, &[], Encoding::Automatic)
    };
    let segmentation = read(&reopened(&write(&new).unwrap())).unwrap();
    for number in [1, 255, 256, 399] {
        let mask = segmentation.masks_on(number, &slices).unwrap().mask;
        assert_eq!(mask, labels.mapv(|label| u8::from(label == number)), "{number}");
    }
}

#[test]
fn description_comes_back() {
    let (slices, source) = (slices(3, 4, 5), source());
    let mask = Array3::from_shape_fn((3, 4, 5), |(slice, _, _)| u8::from(slice == 1));
    let written = write(&request(&slices, &source, &[mask], Encoding::Automatic)).unwrap();
    let object = reopened(&written);
    assert_eq!(object.meta().media_storage_sop_class_uid(), uids::LABEL_MAP_SEGMENTATION_STORAGE);
    assert_eq!(object.element(tags::PATIENT_NAME).unwrap().to_str().unwrap(), "Müller^Änne");
    let description = describe(&object).unwrap();
    assert_eq!(description.sop_instance_uid, "1.2.3.400");
    assert_eq!(description.content_label.as_deref(), Some("TEST_1"));
    assert_eq!(description.number_of_frames, 1);
    assert_eq!(description.frames[0].sources[0].sop_instance_uid, "1.2.3.2");
    assert_eq!(description.referenced_series[0].instances.len(), 3);
    assert_eq!(
        description.referenced_instances().into_iter().collect::<Vec<_>>(),
        ["1.2.3.1", "1.2.3.2", "1.2.3.3"]
    );
    let expected = segment(1);
    let found = &description.segments[0];
    assert_eq!(found.label, expected.label);
    assert_eq!(found.concept, expected.concept);
    assert_eq!(found.concept.key(), "99TEST:1|SCT:24028007");
    assert_eq!(found.anatomic_regions, expected.anatomic_regions);
    assert_eq!(found.algorithm_type, AlgorithmType::Automatic);
    assert_eq!(found.algorithm_name.as_deref(), Some("test"));
    assert_eq!(found.recommended_cielab, expected.recommended_cielab);
    assert_eq!(found.provenance, expected.provenance);
    assert!(found.tracking_uid.as_deref().unwrap().starts_with("2.25."));
}

#[test]
fn requests_that_contradict_themselves_are_refused() {
    let (slices, source) = (slices(2, 3, 4), source());
    let full = vec![Array3::<u8>::ones((2, 3, 4)); 2];
    let empty = dicom_object::InMemDicomObject::new_empty();
    let good = request(&slices, &source, &full, Encoding::Automatic);
    assert!(write(&good).is_ok());
    let labels = Array3::from_elem((2, 3, 4), 3u16);
    let small = Array3::<u8>::ones((2, 3, 3));
    type Broken<'a> = (&'static str, NewSegmentation<'a>);
    let cases: Vec<Broken> = vec![
        ("overlap", NewSegmentation { encoding: Encoding::LabelMap, ..good.clone() }),
        ("no slice", NewSegmentation { slices: &[], ..good.clone() }),
        ("no segment", NewSegmentation { segments: vec![], ..good.clone() }),
        ("a mask too few", NewSegmentation { segments: (1..4).map(segment).collect(), ..good.clone() }),
        ("label of no segment", NewSegmentation { voxels: Voxels::LabelMap(labels.view()), ..good.clone() }),
        ("other shape", NewSegmentation { voxels: Voxels::Masks(vec![small.view(); 2]), ..good.clone() }),
        ("no algorithm", NewSegmentation { algorithm: None, ..good.clone() }),
        ("no source series", NewSegmentation { source: &empty, ..good.clone() }),
    ];
    for (name, new) in cases {
        assert!(write(&new).is_err(), "{name}");
    }
}
