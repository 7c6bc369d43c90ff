//! Volumes of real series, against what the data's README says of them.

#![allow(clippy::unwrap_used, reason = "a test")]

use dicom_object::DefaultDicomObject;
use engram_imaging::{Volume, VolumeLimits, VolumeNote, assemble, read_part10};
use std::path::{Path, PathBuf};

fn shared_data() -> Option<PathBuf> {
    let shared = std::env::var_os("ENGRAM_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    if shared.is_dir() {
        return Some(shared.join("data"));
    }
    assert!(std::env::var("ENGRAM_STRICT").as_deref() != Ok("1"), "../shared is absent");
    println!("SKIPPED volumes: ../shared is absent");
    None
}

fn series(folder: PathBuf) -> Vec<DefaultDicomObject> {
    let mut files: Vec<PathBuf> = if folder.is_dir() {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    } else {
        vec![folder]
    };
    files.sort();
    // In an order that is not the volume's.
    files.reverse();
    let read = |file: &PathBuf| {
        let bytes = std::fs::read(file).unwrap();
        read_part10(bytes.as_slice(), bytes.len() as u64).unwrap()
    };
    files.iter().map(read).collect()
}

fn volume(folder: PathBuf) -> Volume {
    let mut volumes = assemble(&series(folder), &VolumeLimits::default()).unwrap();
    assert_eq!(volumes.len(), 1);
    volumes.remove(0)
}

#[test]
fn real_series_become_the_volumes_they_are() {
    let Some(data) = shared_data() else { return };
    // (series, slices, rows, columns, pixel spacing, step, spatial)
    let cases = [
        ("chaos-ct/01/images", 78, 512, 512, 0.7265625, Some(2.0), true),
        ("chaos-mr/01/images", 37, 256, 256, 1.25, Some(7.7), true),
        ("acdc/001/frame01/images", 10, 256, 216, 1.5, Some(10.0), true),
        ("hippocampus/001/images", 35, 51, 35, 1.0, Some(1.0), true),
        ("hc18/000/images", 1, 540, 800, 0.069136, None, false),
    ];
    for (name, slices, rows, columns, spacing, step, spatial) in cases {
        let volume = volume(data.join(name));
        println!(
            "{name}: {:?} {:?} {:?}",
            volume.voxels.dim(),
            volume.geometry.slice_spacing(),
            volume.notes
        );
        assert_eq!(volume.voxels.dim(), (slices, rows, columns), "{name}");
        assert_eq!(volume.geometry.pixel_spacing, [spacing; 2], "{name}");
        assert_eq!(volume.geometry.slice_spacing().map(|step| (step * 1e3).round() / 1e3), step, "{name}");
        assert_eq!(volume.geometry.spatial, spatial, "{name}");
        let expected: &[VolumeNote] = if spatial { &[] } else { &[VolumeNote::NominalGeometry] };
        assert_eq!(volume.notes, expected, "{name}");
        assert!(volume.geometry.offsets().is_sorted());
    }
}

#[test]
fn a_ct_is_in_hounsfield_units() {
    let Some(data) = shared_data() else { return };
    let volume = volume(data.join("chaos-ct/01/images"));
    assert_eq!(volume.modality, "CT");
    // Air around the patient, and the soft tissue in the middle.
    assert_eq!(volume.voxels[[40, 5, 256]].clamp(-1100.0, -900.0), volume.voxels[[40, 5, 256]]);
    let middle = volume.voxels.slice(ndarray::s![40, 200..300, 150..350]);
    let mean = middle.mean().unwrap();
    assert!((-50.0..150.0).contains(&mean), "{mean}");
}

#[test]
fn one_object_of_many_frames_is_the_volume_of_its_single_frames() {
    let Some(data) = shared_data() else { return };
    let folder = data.join("seg-samples/dcmqi/23x38x3");
    let single = volume(folder.join("image"));
    let multi = volume(folder.join("multiframe/mf.dcm"));
    assert_eq!(single.voxels, multi.voxels);
    assert_eq!(single.geometry.positions, multi.geometry.positions);
    assert_eq!(multi.sources.iter().map(|source| source.frames).max(), Some(single.sources.len() as u32));
}
