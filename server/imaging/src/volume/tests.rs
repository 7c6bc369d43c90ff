use super::*;
use crate::testing::{image, set};
use crate::{DecodeLimits, Error};
use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{DefaultDicomObject, InMemDicomObject};

/// A slice of 1 x 2 voxels at `position`, axial; its instance number is its first voxel.
fn slice(position: [f64; 3], value: i16) -> DefaultDicomObject {
    let mut object = image(1, 2, &[value, -value]);
    set(&mut object, tags::SOP_INSTANCE_UID, VR::UI, format!("1.2.{value}"));
    set(&mut object, tags::INSTANCE_NUMBER, VR::IS, value.to_string());
    place(&mut object, position, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    numbers(&mut object, tags::PIXEL_SPACING, &[0.5, 0.25]);
    object
}

fn place(object: &mut DefaultDicomObject, position: [f64; 3], orientation: [f64; 6]) {
    numbers(object, tags::IMAGE_POSITION_PATIENT, &position);
    numbers(object, tags::IMAGE_ORIENTATION_PATIENT, &orientation);
}

fn numbers(object: &mut InMemDicomObject, tag: Tag, values: &[f64]) {
    let text: Vec<String> = values.iter().map(f64::to_string).collect();
    object.put(DataElement::new(tag, VR::DS, PrimitiveValue::Strs(text.into())));
}

fn stack(offsets: &[f64]) -> Vec<DefaultDicomObject> {
    let slice = |(index, z): (usize, &f64)| slice([1.0, 2.0, *z], index as i16 + 1);
    offsets.iter().enumerate().map(slice).collect()
}

fn volumes(objects: &[DefaultDicomObject]) -> Vec<Volume> {
    assemble(objects, &VolumeLimits::default()).unwrap()
}

fn first_voxels(volume: &Volume) -> Vec<f32> {
    volume.voxels.outer_iter().map(|slice| slice[[0, 0]]).collect()
}

#[test]
fn slices_are_sorted_along_the_normal_and_rescaled() {
    let mut objects = stack(&[4.0, 0.0, 2.0]);
    for object in &mut objects {
        numbers(object, tags::RESCALE_SLOPE, &[2.0]);
        numbers(object, tags::RESCALE_INTERCEPT, &[-10.0]);
    }
    let volumes = volumes(&objects);
    let [volume] = volumes.as_slice() else { panic!("one volume") };
    assert_eq!(volume.voxels.dim(), (3, 1, 2));
    assert_eq!(first_voxels(volume), [-6.0, -4.0, -8.0]);
    assert_eq!(volume.voxels[[0, 0, 1]], -14.0);
    assert_eq!(volume.geometry.positions, [[1.0, 2.0, 0.0], [1.0, 2.0, 2.0], [1.0, 2.0, 4.0]]);
    assert_eq!(volume.geometry.pixel_spacing, [0.5, 0.25]);
    assert!(volume.geometry.spatial);
    assert_eq!(volume.sources[0].sop_instance_uid, "1.2.2");
    assert_eq!((volume.sources[0].frame, volume.sources[0].frames), (1, 1));
    assert_eq!((volume.modality.as_str(), volume.notes.as_slice()), ("MR", &[][..]));
}

#[test]
fn gaps_irregular_steps_shear_and_obliqueness_are_noted() {
    let notes = |objects: &[DefaultDicomObject]| volumes(objects).remove(0).notes;
    assert_eq!(
        notes(&stack(&[0.0, 2.0, 4.0, 10.0, 12.0])),
        [VolumeNote::Gap { slice: 2, missing: 2, distance_mm: 6.0 }]
    );
    assert_eq!(
        notes(&stack(&[0.0, 2.0, 4.5, 6.5])),
        [VolumeNote::IrregularSpacing { min_mm: 2.0, max_mm: 2.5 }]
    );
    let sheared: Vec<_> =
        (0..3).map(|index| slice([0.0, f64::from(index), f64::from(index)], index as i16)).collect();
    let [VolumeNote::Sheared { degrees }] = notes(&sheared)[..] else { panic!("sheared") };
    assert!((degrees - 45.0).abs() < 1e-6);
    let oblique: Vec<_> = (0..3)
        .map(|index| {
            let mut object = slice([0.0; 3], index);
            let (sine, cosine) = 30f64.to_radians().sin_cos();
            let step = f64::from(index) * 3.0;
            place(&mut object, [0.0, -sine * step, cosine * step], [1.0, 0.0, 0.0, 0.0, cosine, sine]);
            object
        })
        .collect();
    let volume = volumes(&oblique).remove(0);
    let [VolumeNote::Oblique { degrees }] = volume.notes[..] else { panic!("oblique: {:?}", volume.notes) };
    assert!((degrees - 30.0).abs() < 1e-6);
    assert!((volume.geometry.slice_spacing().unwrap() - 3.0).abs() < 1e-9);
}

#[test]
fn phases_at_one_position_become_volumes() {
    // Two positions, three phases; trigger times differ between the positions.
    let mut objects = Vec::new();
    for (z, times) in [(0.0, [30.0, 10.0, 20.0]), (5.0, [11.0, 31.0, 21.0])] {
        for time in times {
            let mut object = slice([0.0, 0.0, z], time as i16);
            numbers(&mut object, tags::TRIGGER_TIME, &[time]);
            objects.push(object);
        }
    }
    let volumes = volumes(&objects);
    let phases: Vec<Vec<f32>> = volumes.iter().map(first_voxels).collect();
    assert_eq!(phases, [[10.0, 11.0], [20.0, 21.0], [30.0, 31.0]]);
    assert_eq!(volumes[1].notes, [VolumeNote::TimePoint { index: 1, count: 3, by: "TriggerTime" }]);
}

#[test]
fn a_phase_that_misses_a_position_keeps_its_place() {
    let mut objects = Vec::new();
    for (z, echoes) in [(0.0, vec![1.0, 2.0]), (5.0, vec![2.0]), (10.0, vec![1.0, 2.0])] {
        for echo in echoes {
            let mut object = slice([0.0, 0.0, z], (z * 10.0 + echo) as i16);
            numbers(&mut object, tags::ECHO_TIME, &[echo]);
            objects.push(object);
        }
    }
    let echoes: Vec<Vec<f32>> = volumes(&objects).iter().map(first_voxels).collect();
    assert_eq!(echoes, [vec![1.0, 101.0], vec![2.0, 52.0, 102.0]]);
}

#[test]
fn repeats_without_an_attribute_are_told_apart_by_number_if_whole_and_left_out_if_not() {
    let repeated = volumes(&stack(&[0.0, 2.0, 0.0, 2.0]));
    assert_eq!(repeated.iter().map(first_voxels).collect::<Vec<_>>(), [[1.0, 2.0], [3.0, 4.0]]);
    let sent_twice = volumes(&stack(&[0.0, 2.0, 4.0, 2.0]));
    assert_eq!(first_voxels(&sent_twice[0]), [1.0, 2.0, 3.0]);
    assert_eq!(sent_twice[0].notes, [VolumeNote::DuplicatePosition { frames: 1 }]);
}

#[test]
fn mixed_orientations_are_volumes_of_their_own() {
    let mut objects = stack(&[0.0, 2.0, 4.0]);
    for z in [7.0, 9.0] {
        let mut object = slice([0.0; 3], z as i16);
        place(&mut object, [z, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        objects.insert(0, object);
    }
    let volumes = volumes(&objects);
    assert_eq!(volumes.iter().map(|volume| volume.sources.len()).collect::<Vec<_>>(), [3, 2]);
    assert_eq!(volumes[1].notes, [VolumeNote::MixedGeometry { index: 1, count: 2 }]);
    assert_eq!(volumes[1].geometry.normal(), [1.0, 0.0, 0.0]);
}

#[test]
fn frames_of_an_enhanced_object_take_their_places() {
    let item = |group: Tag, tag: Tag, values: &[f64]| {
        let mut inner = InMemDicomObject::new_empty();
        numbers(&mut inner, tag, values);
        let sequence = DataSetSequence::from(vec![inner]);
        DataElement::new(group, VR::SQ, sequence)
    };
    let mut object = image(1, 1, &[10, 20, 30]);
    set(&mut object, tags::NUMBER_OF_FRAMES, VR::IS, "3");
    let mut shared = InMemDicomObject::new_empty();
    shared.put(item(
        tags::PLANE_ORIENTATION_SEQUENCE,
        tags::IMAGE_ORIENTATION_PATIENT,
        &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    ));
    shared.put(item(tags::PIXEL_MEASURES_SEQUENCE, tags::PIXEL_SPACING, &[3.0, 4.0]));
    let groups = DataSetSequence::from(vec![shared]);
    object.put(DataElement::new(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, VR::SQ, groups));
    let frames: Vec<InMemDicomObject> = [2.0, 0.0, 1.0]
        .iter()
        .map(|z| {
            let mut frame = InMemDicomObject::new_empty();
            frame.put(item(tags::PLANE_POSITION_SEQUENCE, tags::IMAGE_POSITION_PATIENT, &[0.0, 0.0, *z]));
            frame.put(item(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, tags::RESCALE_SLOPE, &[*z + 1.0]));
            frame
        })
        .collect();
    let groups = DataSetSequence::from(frames);
    object.put(DataElement::new(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, VR::SQ, groups));
    let volume = volumes(&[object]).remove(0);
    assert_eq!(first_voxels(&volume), [20.0, 60.0, 30.0]);
    assert_eq!(volume.sources.iter().map(|source| source.frame).collect::<Vec<_>>(), [2, 3, 1]);
    assert_eq!(volume.geometry.pixel_spacing, [3.0, 4.0]);
    assert_eq!(volume.notes, []);
}

#[test]
fn frames_without_a_position_are_nominal() {
    let mut cine = image(1, 1, &[10, 20, 30]);
    set(&mut cine, tags::NUMBER_OF_FRAMES, VR::IS, "3");
    let volume = volumes(&[cine]).remove(0);
    assert!(!volume.geometry.spatial);
    assert_eq!(volume.geometry.positions, [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 2.0]]);
    assert_eq!(
        (first_voxels(&volume), volume.notes),
        (vec![10.0, 20.0, 30.0], vec![VolumeNote::NominalGeometry])
    );
    let stills = volumes(&[image(1, 1, &[1]), image(1, 1, &[2])]);
    assert_eq!(stills.len(), 2);
}

#[test]
fn a_dose_grid_follows_its_offsets() {
    let mut dose = slice([0.0, 0.0, 10.0], 1);
    set(&mut dose, tags::COLUMNS, VR::US, PrimitiveValue::from(1u16));
    set(&mut dose, tags::NUMBER_OF_FRAMES, VR::IS, "2");
    numbers(&mut dose, tags::GRID_FRAME_OFFSET_VECTOR, &[0.0, -3.0]);
    let volume = volumes(&[dose]).remove(0);
    assert_eq!(volume.geometry.positions, [[0.0, 0.0, 7.0], [0.0, 0.0, 10.0]]);
    assert_eq!(first_voxels(&volume), [-1.0, 1.0]);
}

#[test]
fn a_series_that_is_no_volume_is_refused_by_name() {
    let with = |tag: Tag, vr: VR, value: PrimitiveValue| {
        let mut object = image(1, 2, &[1, 2]);
        set(&mut object, tag, vr, value);
        object
    };
    let localizer = with(
        tags::IMAGE_TYPE,
        VR::CS,
        PrimitiveValue::Strs(["ORIGINAL", "PRIMARY", "LOCALIZER"].map(String::from).as_slice().into()),
    );
    let capture = with(tags::SOP_CLASS_UID, VR::UI, uids::SECONDARY_CAPTURE_IMAGE_STORAGE.into());
    let colour = with(tags::SAMPLES_PER_PIXEL, VR::US, PrimitiveValue::from(3u16));
    let segmentation = with(tags::SOP_CLASS_UID, VR::UI, uids::SEGMENTATION_STORAGE.into());
    let mut report = image(1, 2, &[]);
    report.remove_element(tags::PIXEL_DATA);
    for (object, expected) in [
        (localizer.clone(), NotAVolume::Localizer),
        (capture, NotAVolume::SecondaryCapture),
        (colour, NotAVolume::Colour),
        (segmentation, NotAVolume::NotAnImage),
        (report, NotAVolume::NotAnImage),
    ] {
        let error = assemble(&[object], &VolumeLimits::default()).unwrap_err();
        assert!(matches!(error, Error::NotAVolume { reason } if reason == expected), "{error}");
    }
    let none: [DefaultDicomObject; 0] = [];
    let error = assemble(&none, &VolumeLimits::default()).unwrap_err();
    assert_eq!(error.to_string(), "could not make a volume of the series: it holds no instance");

    let mut objects = stack(&[0.0, 2.0]);
    objects.push(localizer);
    let notes = volumes(&objects).remove(0).notes;
    assert_eq!(notes, [VolumeNote::Excluded { frames: 1, reason: NotAVolume::Localizer }]);
}

#[test]
fn a_volume_beyond_the_limit_or_the_data_is_refused() {
    let limits = VolumeLimits { max_bytes: 20, decode: DecodeLimits::default() };
    assert!(assemble(&stack(&[0.0, 2.0]), &limits).is_ok());
    assert!(matches!(assemble(&stack(&[0.0, 2.0, 4.0]), &limits), Err(Error::TooLarge { .. })));
    let mut liar = slice([0.0; 3], 1);
    set(&mut liar, tags::NUMBER_OF_FRAMES, VR::IS, "100000000");
    let error = assemble(&[liar], &VolumeLimits::default()).unwrap_err();
    assert!(matches!(error, Error::ShortPixelData { .. }), "{error}");
}

#[test]
fn voxels_and_positions_map_to_each_other() {
    let mut objects = stack(&[0.0, 2.0, 4.0, 9.0]);
    for (index, object) in objects.iter_mut().enumerate() {
        // Sheared: each slice a millimetre further along y.
        let z = [0.0, 2.0, 4.0, 9.0][index];
        place(object, [5.0, index as f64, z], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    }
    let geometry = volumes(&objects).remove(0).geometry;
    assert_eq!(geometry.voxel_to_lps(1, 4.0, 8.0), Some([7.0, 3.0, 2.0]));
    assert_eq!(geometry.voxel_to_lps(4, 0.0, 0.0), None);
    for (slice, row, column) in [(0, 0.0, 0.0), (1, 4.0, 8.0), (3, -2.5, 1.0)] {
        let point = geometry.voxel_to_lps(slice, row, column).unwrap();
        let back = geometry.lps_to_voxel(point).unwrap();
        for (found, expected) in back.into_iter().zip([slice as f64, row, column]) {
            assert!((found - expected).abs() < 1e-9, "{back:?}");
        }
    }
    assert_eq!(geometry.lps_to_voxel([5.0, 2.5, 6.5]).unwrap(), [2.5, 0.0, 0.0]);
    assert_eq!(geometry.lps_to_voxel([5.0, -1.0, -2.0]).unwrap(), [-1.0, 0.0, 0.0]);
    assert_eq!(geometry.slice_of_position([90.0, 90.0, 4.3], 0.5), Some(2));
    assert_eq!(geometry.slice_of_position([90.0, 90.0, 6.0], 0.5), None);
    assert_eq!(geometry.slice_spacing(), Some(2.0));
    let affine = volumes(&stack(&[0.0, 2.0, 4.0])).remove(0).geometry.affine().unwrap();
    assert_eq!(affine[0], [0.25, 0.0, 0.0, 1.0]);
    assert_eq!(affine[1], [0.0, 0.5, 0.0, 2.0]);
    assert_eq!(affine[2], [0.0, 0.0, 2.0, 0.0]);
}
