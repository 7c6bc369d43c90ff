//! Gets metadata from the archive.

use std::hash::{DefaultHasher, Hasher};

use bytes::Bytes;
use engram_archive::{Archive, InstanceUids};
use snafu::ResultExt;
use tokio::sync::mpsc::Sender;

use crate::error::{ArchiveSnafu, NotFoundSnafu, Result};
use crate::place::Place;
use crate::state::Urls;

/// A piece of the JSON array, or why there is no more.
pub type Piece = Result<Bytes>;

/// Sends the metadata of a place, piece by piece. Blocks while the pieces before wait; ends early when nobody
/// receives any more.
pub fn send(archive: &Archive, place: &Place, urls: &Urls, pieces: &Sender<Piece>) {
    let bulk_data = |uids: &InstanceUids| urls.bulk_data(uids);
    let chunks =
        archive.metadata(&place.study, place.series.as_deref(), place.instance.as_deref(), &bulk_data);
    match chunks {
        Ok(Some(chunks)) => {
            for chunk in chunks {
                let piece = chunk.context(ArchiveSnafu).map(Bytes::from);
                let failed = piece.is_err();
                if pieces.blocking_send(piece).is_err() || failed {
                    return;
                }
            }
        }
        Ok(None) => drop(pieces.blocking_send(NotFoundSnafu { what: place.to_string() }.fail())),
        Err(error) => drop(pieces.blocking_send(Err(error).context(ArchiveSnafu))),
    }
}

/// A weak validator of the answer's bytes.
pub fn entity_tag(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    format!("W/\"{:016x}\"", hasher.finish())
}
