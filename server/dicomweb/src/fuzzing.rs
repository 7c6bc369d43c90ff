//! What the fuzz targets call of this room beside its public face: how instances that come as metadata and bulk data
//! are put together.

use std::io;

use engram_archive::{Archive, Incoming};

use crate::media::MediaType;
pub use crate::stow::metadata::AssembleError;
use crate::stow::metadata::{BulkData, Encoding, Gathering};

/// A part of bulk data.
#[derive(Debug, Clone)]
pub struct BulkPart {
    /// `Content-Location`.
    pub location: String,
    /// `Content-Type`.
    pub media_type: MediaType,
    /// Content.
    pub bytes: Vec<u8>,
}

/// Puts together what a request of one metadata part and some bulk data brings: an object for each instance. Nothing
/// where `media_type` is not that of metadata.
///
/// # Errors
/// Where bulk data could not be kept.
pub fn assemble(
    archive: &Archive,
    media_type: &MediaType,
    metadata: &[u8],
    bulk_parts: &[BulkPart],
) -> io::Result<Vec<Result<Incoming, AssembleError>>> {
    let Some(encoding) = Encoding::of(&media_type.essence) else { return Ok(Vec::new()) };
    let mut bulk_data = BulkData::new(archive.clone(), u64::MAX, "http://localhost/dicomweb/studies");
    for BulkPart { location, media_type, bytes } in bulk_parts {
        let mut part = bulk_data.begin(media_type.clone())?;
        bulk_data.append(&mut part, bytes)?;
        bulk_data.keep(location, part);
    }
    let mut gathering = Gathering::new(archive.clone(), encoding, metadata.len(), bulk_data);
    let mut attributes = Gathering::begin(encoding, media_type);
    attributes.bytes.extend_from_slice(metadata);
    gathering.keep(attributes);
    let mut objects = Vec::new();
    gathering.assemble(|instance| objects.push(instance.object.map(|(incoming, _)| incoming)));
    Ok(objects)
}
