//! Files in objects (PS3.3 C.24.2).

use engram_archive::{Archive, BulkData, BulkValue, InstanceEntry};
use snafu::ResultExt;

use super::dataset::DataSet;
use crate::error::{ArchiveSnafu, NotFoundSnafu, ReadFileSnafu, Result};
use crate::state::DicomWeb;
use crate::wado::body::{Segment, read_range};
use crate::wado::object;

/// What documents can be (PS3.3 section A.45), as the attribute may say it in any case.
pub const MEDIA_TYPES: [&str; 5] = ["application/pdf", "text/xml", "model/stl", "model/obj", "model/mtl"];

/// EncapsulatedDocument (0042,0011) as a path.
pub const PATH: &str = "00420011";
/// MIMETypeOfEncapsulatedDocument.
const MEDIA_TYPE: &str = "00420012";
/// EncapsulatedDocumentLength, without what pads the value to an even length.
const LENGTH: &str = "00420015";

/// The media type of the document that an instance encapsulates, if it is one that documents have.
pub fn media_type(archive: &Archive, entry: &InstanceEntry) -> Result<Option<&'static str>> {
    let attributes = object::attributes(archive, entry)?.unwrap_or_default();
    let told = DataSet(&attributes).text(MEDIA_TYPE).unwrap_or_default();
    Ok(MEDIA_TYPES.into_iter().find(|known| told.eq_ignore_ascii_case(known)))
}

/// The document, without what pads it to an even length. Where EncapsulatedDocumentLength does not say how long it is, XML
/// ends before a NUL, which it cannot hold.
pub fn content(state: &DicomWeb, entry: &InstanceEntry, media_type: &str) -> Result<Segment> {
    let attributes = object::attributes(&state.archive, entry)?.unwrap_or_default();
    let length = DataSet(&attributes).number(LENGTH);
    let is_padded = |stored: u64, last: Option<u8>| match length {
        Some(length) => length.checked_add(1) == Some(stored),
        None => media_type == "text/xml" && last == Some(0),
    };
    let found = state.archive.bulk_data(entry, PATH).context(ArchiveSnafu)?;
    match found {
        Some(BulkData { value: BulkValue::Native(mut range), .. }) => {
            let last = read_range(&entry.path, range.end.saturating_sub(1).max(range.start)..range.end);
            let last = last.context(ReadFileSnafu)?.first().copied();
            if is_padded(range.end.saturating_sub(range.start), last) {
                range.end -= 1;
            }
            Ok(Segment::File { path: entry.path.clone(), range })
        }
        Some(BulkData { value: BulkValue::Inflated(mut bytes), .. }) => {
            if is_padded(bytes.len() as u64, bytes.last().copied()) {
                bytes.pop();
            }
            Ok(Segment::Bytes(bytes.into()))
        }
        _ => NotFoundSnafu { what: format!("document of instance {}", entry.uids.sop_instance_uid) }.fail(),
    }
}
