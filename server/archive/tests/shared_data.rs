//! Real objects of many makers: each is stored whole or refused for what is wrong with it.
#![allow(clippy::unwrap_used)]

mod common;

use common::{assert_consistent, open, store};
use dicom_core::header::Header;
use engram_archive::{Archive, BulkValue, StoreError, StoreFailure, StoreOutcome};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The data folder; skips, or fails in strict mode, where it is absent.
fn shared(test: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("ENGRAM_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    if shared.join("data").is_dir() {
        return Some(shared.join("data"));
    }
    assert!(std::env::var_os("ENGRAM_STRICT").is_none_or(|strict| strict != "1"), "../shared is absent");
    println!("SKIPPED {test}: ../shared is absent");
    None
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "dcm") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Stores every file of a folder; gives those refused with the reason.
fn store_all(archive: &Archive, folder: &Path) -> Vec<(String, String)> {
    let mut refused = Vec::new();
    for path in files(folder) {
        let bytes = fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut outcome = store(archive, &bytes);
        if let Err(StoreFailure { error: StoreError::Conflict { sop_instance_uid }, .. }) = &outcome {
            // Some files are one image in several transfer syntaxes: each has its turn.
            let uids = archive.find_instance(sop_instance_uid).unwrap().unwrap().uids;
            archive
                .delete_instance(&uids.study_instance_uid, &uids.series_instance_uid, &uids.sop_instance_uid)
                .unwrap();
            outcome = store(archive, &bytes);
        }
        match outcome {
            Ok(StoreOutcome::Stored(stored)) => {
                let entry = archive.find_instance(&stored.uids.sop_instance_uid).unwrap().unwrap();
                assert_eq!(fs::read(&entry.path).unwrap(), bytes, "{name}");
                holds_what_another_reader_sees(archive, &entry, &path);
            }
            Ok(StoreOutcome::AlreadyStored(_)) => {}
            Err(failure) => refused.push((name, failure.error.to_string())),
        }
    }
    refused
}

/// The kept JSON has the elements that dicom-object finds, and pixel data lies where it says.
fn holds_what_another_reader_sees(archive: &Archive, entry: &engram_archive::InstanceEntry, path: &Path) {
    let uids = &entry.uids;
    let json = archive
        .instance_json(&uids.study_instance_uid, &uids.series_instance_uid, &uids.sop_instance_uid)
        .unwrap()
        .unwrap();
    let Ok(object) = dicom_object::open_file(path) else {
        println!("dicom-object does not read {}", path.display());
        return;
    };
    let theirs: BTreeSet<String> = object
        .iter()
        .filter(|element| element.tag().element() != 0 && element.tag() != dicom_core::Tag(0xFFFC, 0xFFFC))
        .map(|element| format!("{:04X}{:04X}", element.tag().group(), element.tag().element()))
        .collect();
    let ours: BTreeSet<String> = json.keys().cloned().collect();
    assert_eq!(ours, theirs, "{}", path.display());
    let Ok(pixels) = object.element(dicom_dictionary_std::tags::PIXEL_DATA) else { return };
    let found = archive.bulk_data(entry, "7FE00010").unwrap().unwrap();
    match found.value {
        BulkValue::Native(range) => {
            let bytes = pixels.to_bytes().unwrap().len() as u64;
            assert!(
                range.end - range.start == bytes || range.end - range.start == bytes + 1,
                "{}",
                path.display()
            );
        }
        BulkValue::Encapsulated { fragments, .. } => {
            assert_eq!(fragments.len(), pixels.fragments().unwrap().len(), "{}", path.display());
        }
        BulkValue::Inflated(bytes) => assert_eq!(bytes.len(), pixels.to_bytes().unwrap().len()),
    }
}

#[test]
fn every_transfer_syntax_is_stored_or_refused_for_a_reason() {
    let Some(data) = shared("every_transfer_syntax_is_stored_or_refused_for_a_reason") else { return };
    let root = tempfile::tempdir().unwrap();
    let archive = open(root.path());
    let refused = store_all(&archive, &data.join("transfer-syntaxes"));
    assert_consistent(&archive);
    let refused: Vec<_> = refused.iter().map(|(name, reason)| (name.as_str(), reason.as_str())).collect();
    assert_eq!(refused, REFUSED);
}

/// Files that no archive can place, or that are no instance.
const REFUSED: [(&str, &str); 9] = [
    (
        "Explicit_VR_Little_Endian-bbmri.dcmdir.dcm",
        "could not read the object at byte 429: DirectoryRecordSequence (0004,1220) does not belong there",
    ),
    ("High-Throughput_JPEG_2000_Image_Compress-HTJ2KLossless_08_RGB.dcm", NO_STUDY),
    ("High-Throughput_JPEG_2000_Image_Compress-HTJ2K_08_RGB.dcm", NO_STUDY),
    (
        "Implicit_VR_Little_Endian-gdcm-CT-MONO2-8-abdo.dcm",
        "could not accept SeriesInstanceUID \"REM SAMPLES 1\": it is not a UID",
    ),
    ("JPEG-LS_Lossless_Image_Compression-JLSL_08_07_0_1F.dcm", NO_STUDY),
    ("JPEG-LS_Lossy-JPEGLSNearLossless_08.dcm", NO_STUDY),
    ("JPEG-LS_Lossy-JPEGLSNearLossless_16.dcm", NO_STUDY),
    (
        "JPEG_Lossless_Non-Hierarchical_First-Ord-bad_sequence.dcm",
        "could not accept StudyInstanceUID \"05fa52f0e599f17b8186ff18fcdf2b5570a52206a75c4d03afebf5c475dc8758\": it is not a UID",
    ),
    ("RLE_Lossless-rtdose_rle_1frame.dcm", "could not find SOPClassUID in the object"),
];

const NO_STUDY: &str = "could not find StudyInstanceUID in the object";

#[test]
fn segmentations_of_every_writer_are_stored() {
    let Some(data) = shared("segmentations_of_every_writer_are_stored") else { return };
    let root = tempfile::tempdir().unwrap();
    let archive = open(root.path());
    assert_eq!(store_all(&archive, &data.join("seg-samples")), []);
    assert_consistent(&archive);
}
