//! What the fuzz targets call of this room: what storing does to an object's bytes before anything is written.

use crate::{
    ArchiveOptions, BulkData, InstanceUids, StoreError, StoreFailure, attributes, metadata,
    part10::{self, DataSetJson, ElementPath, Limits},
};
use serde_json::{Map, Value};
use std::{fs::File, ops::Range};

/// An object that storing would accept.
#[derive(Debug)]
pub struct Verified {
    /// Its identity.
    pub uids: InstanceUids,
    /// Its transfer syntax.
    pub transfer_syntax_uid: String,
    /// Where the catalogue would say that its pixels lie.
    pub pixel_data: Option<Range<u64>>,
    /// What would be added to the records of a new study and a new series.
    pub records: [Map<String, Value>; 2],
    json: DataSetJson,
}

impl Verified {
    /// Its DICOM JSON, the BulkDataURIs begun by `prefix`.
    pub fn metadata(&self, prefix: &str) -> Vec<u8> {
        let mut json = Vec::new();
        metadata::resolve(&self.json.text, prefix, &mut json);
        json
    }
}

/// Verifies an object as [`Archive::store`](crate::Archive::store) does.
///
/// # Errors
/// Why it would be refused.
pub fn verify(file: &mut File, options: &ArchiveOptions) -> Result<Verified, StoreFailure> {
    let inspected = part10::inspect(file, &Limits::of(options))?;
    let record = |belongs| {
        let mut record = Map::new();
        attributes::merge(&mut record, &inspected.json, belongs);
        record
    };
    let records = [record(attributes::is_study), record(attributes::is_series)];
    let part10::Inspected { uids, transfer_syntax_uid, json, pixel_data, .. } = inspected;
    Ok(Verified { uids, transfer_syntax_uid, pixel_data, records, json })
}

/// Finds a value by what follows `bulkdata/` in its BulkDataURI, as [`Archive::bulk_data`](crate::Archive::bulk_data)
/// does.
///
/// # Errors
/// Where the object does not read.
pub fn locate(file: &mut File, path: &str, options: &ArchiveOptions) -> Result<Option<BulkData>, StoreError> {
    match ElementPath::parse(path) {
        Some(path) => part10::locate(file, &path, &Limits::of(options)),
        None => Ok(None),
    }
}
