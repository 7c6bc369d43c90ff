//! Instances that come as metadata and bulk data.

use crate::fixture::{TemporaryArchive, content_of, file_of, options};
use engram_archive::fuzzing::{Verified, locate, verify};
use engram_archive::{Archive, BulkValue, StoreError};
use engram_dicomweb::fuzzing::{BulkPart, assemble};
use engram_dicomweb::media::MediaType;
use engram_dicomweb::native_model;
use serde_json::Value;
use std::fs::File;

const JSON: &str = "application/dicom+json";

thread_local! {
    static ARCHIVE: TemporaryArchive = TemporaryArchive::new();
}

/// The input is the metadata part.
pub fn dicom_json(input: &[u8]) {
    ARCHIVE.with(|temporary| check(&temporary.archive, JSON, input));
}

/// The input is the metadata part.
pub fn dicom_xml(input: &[u8]) {
    if let Ok(json) = native_model::read(input) {
        reads_back(&serde_json::to_vec(&json).unwrap());
    }
    ARCHIVE.with(|temporary| check(&temporary.archive, native_model::MEDIA_TYPE, input));
}

/// Asserts that XML written of DICOM JSON reads as that JSON. XML has no control characters and other spellings of
/// numbers, so the second reading is compared with the first.
pub fn reads_back(json: &[u8]) {
    let Ok(xml) = native_model::write(json) else { return };
    let read = native_model::read(&xml).unwrap();
    let again = native_model::write(&serde_json::to_vec(&read).unwrap()).unwrap();
    assert_eq!(native_model::read(&again).unwrap(), read);
}

/// The BulkDataURIs of a data set, at any depth.
pub fn bulk_data_uris(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(values) => values.iter().flat_map(bulk_data_uris).collect(),
        Value::Object(object) => {
            let own = object.get("BulkDataURI").and_then(Value::as_str);
            own.into_iter().chain(object.values().flat_map(bulk_data_uris)).collect()
        }
        _ => Vec::new(),
    }
}

fn check(archive: &Archive, media_type: &str, metadata: &[u8]) {
    let part = |location: &str, media_type, bytes: &[u8]| BulkPart {
        location: location.to_owned(),
        media_type: MediaType::parse(media_type).unwrap(),
        bytes: bytes.to_vec(),
    };
    let bulk_parts = [
        part("bulk", "application/octet-stream", &[1, 2, 3, 4, 5]),
        part("jls/frames/1", "image/jls", &[0xFF, 0xD8, 0xFF]),
        part("jls/frames/2", "image/jls", &[0xFF, 0xD8]),
        part("jp2", "image/jp2; transfer-syntax=1.2.840.10008.1.2.4.90", &[0xFF, 0x4F]),
    ];
    let media_type = MediaType::parse(media_type).unwrap();
    for object in assemble(archive, &media_type, metadata, &bulk_parts).unwrap() {
        let Ok(object) = object else { continue };
        let mut file = file_of(&content_of(&object));
        match verify(&mut file, &options()) {
            Ok(verified) => is_stable(archive, &verified, &mut file),
            Err(failure) => assert!(is_whole(&failure.error), "{failure:?}"),
        }
    }
}

/// Whether it was not the writing of the object that made the archive refuse it, but what the metadata says or leaves out.
fn is_whole(error: &StoreError) -> bool {
    match error {
        StoreError::Truncated { element, .. } => element.ends_with("which never begins"),
        StoreError::Malformed { problem, .. } => problem.starts_with("sequences nest deeper"),
        StoreError::NotDicom | StoreError::Unreadable { .. } => false,
        _ => true,
    }
}

/// Asserts that an object's metadata and bulk data make an object of the same metadata.
fn is_stable(archive: &Archive, verified: &Verified, file: &mut File) {
    let metadata = verified.metadata("");
    let json: Value = serde_json::from_slice(&metadata).unwrap();
    let content = content_of_file(file);
    let mut bulk_parts = Vec::new();
    for uri in bulk_data_uris(&json) {
        let path = uri.strip_prefix("bulkdata/").unwrap();
        let ranges = match locate(file, path, &options()).unwrap().unwrap().value {
            BulkValue::Native(range) => vec![range],
            BulkValue::Encapsulated { fragments, .. } => fragments,
            BulkValue::Inflated(_) => unreachable!("nothing assembled is deflated"),
        };
        let media_type =
            format!("application/octet-stream; transfer-syntax={}", verified.transfer_syntax_uid);
        bulk_parts.extend(ranges.into_iter().map(|range| BulkPart {
            location: uri.to_owned(),
            media_type: MediaType::parse(&media_type).unwrap(),
            bytes: content[range.start as usize..range.end as usize].to_vec(),
        }));
    }
    let array = [b"[".as_slice(), &metadata, b"]"].concat();
    let media_type = MediaType::parse(JSON).unwrap();
    let mut objects = assemble(archive, &media_type, &array, &bulk_parts).unwrap();
    let object = objects.pop().unwrap().unwrap();
    assert!(objects.is_empty());
    let again = verify(&mut file_of(&content_of(&object)), &options()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&again.metadata("")).unwrap(), json);
    assert_eq!((again.uids, again.records), (verified.uids.clone(), verified.records.clone()));
}

fn content_of_file(file: &mut File) -> Vec<u8> {
    use std::io::{Read, Seek};
    let mut content = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut content).unwrap();
    content
}
