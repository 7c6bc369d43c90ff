//! Finding instances, and opening their objects.

use std::fs::File;
use std::io::BufReader;

use dicom_object::DefaultDicomObject;
use engram_archive::{Archive, InstanceEntry};
use engram_imaging::{read_header, read_part10};
use serde_json::{Map, Value};
use snafu::ResultExt;

use super::PIXEL_DATA;
use crate::error::{
    ArchiveSnafu, NotFoundSnafu, PixelsSnafu, ReadFileSnafu, ReadObjectSnafu, Result, TooLargeToDecodeSnafu,
};
use crate::options::DicomWebOptions;
use crate::place::Place;

/// The instances at a place, in the archive's order; an error where there is none.
pub fn entries(archive: &Archive, place: &Place) -> Result<Vec<InstanceEntry>> {
    let study = place.study.as_str();
    let entries = match (&place.series, &place.instance) {
        (Some(series), Some(instance)) => {
            archive.instance(study, series, instance).context(ArchiveSnafu)?.into_iter().collect()
        }
        (Some(series), None) => archive.instances(study, series).context(ArchiveSnafu)?,
        (None, _) => {
            let mut entries = Vec::new();
            for series in archive.series(study).context(ArchiveSnafu)? {
                let series = archive.instances(study, &series.series_instance_uid).context(ArchiveSnafu)?;
                entries.extend(series);
            }
            entries
        }
    };
    match entries.is_empty() {
        true => NotFoundSnafu { what: place.to_string() }.fail(),
        false => Ok(entries),
    }
}

/// The one instance at a place.
pub fn entry(archive: &Archive, place: &Place) -> Result<InstanceEntry> {
    match entries(archive, place)?.into_iter().next() {
        Some(entry) => Ok(entry),
        None => NotFoundSnafu { what: place.to_string() }.fail(),
    }
}

/// Reads an object whole, if it is within the limit.
pub fn open(entry: &InstanceEntry, options: &DicomWebOptions) -> Result<DefaultDicomObject> {
    let limit = options.max_decode_bytes;
    if entry.size > limit {
        return TooLargeToDecodeSnafu { size: entry.size, limit }.fail();
    }
    let file = File::open(&entry.path).context(ReadFileSnafu)?;
    read_part10(file, entry.size).context(ReadObjectSnafu)
}

/// Reads what an object says before its pixel data.
pub fn header(entry: &InstanceEntry) -> Result<DefaultDicomObject> {
    let file = File::open(&entry.path).context(ReadFileSnafu)?;
    read_header(BufReader::new(file), entry.size).context(PixelsSnafu)
}

/// Whether an instance has PixelData, FloatPixelData or DoubleFloatPixelData.
pub fn has_pixels(archive: &Archive, entry: &InstanceEntry) -> Result<bool> {
    let attributes = attributes(archive, entry)?;
    let has = |tag: &str| attributes.as_ref().is_some_and(|attributes| attributes.contains_key(tag));
    Ok([PIXEL_DATA, "7FE00008", "7FE00009"].into_iter().any(has))
}

/// An instance's attributes as DICOM JSON.
pub fn attributes(archive: &Archive, entry: &InstanceEntry) -> Result<Option<Map<String, Value>>> {
    let uids = &entry.uids;
    archive
        .instance_json(&uids.study_instance_uid, &uids.series_instance_uid, &uids.sop_instance_uid)
        .context(ArchiveSnafu)
}
