//! Gets metadata from the archive.

use bytes::Bytes;
use engram_archive::{Archive, BulkDataUri, InstanceUids};
use snafu::ResultExt;
use tokio::sync::mpsc::Sender;

use crate::error::{ArchiveSnafu, NotFoundSnafu, Result, WriteXmlSnafu};
use crate::native_model;
use crate::place::Place;
use crate::state::Urls;

/// About how much XML is handed over at once, in bytes.
const PIECE: usize = 1 << 20;

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One JSON array.
    Json,
    /// An XML document an instance.
    Xml,
}

/// The next stretch of the JSON array, alone; or the next XML documents, each whole. Or why there is no more.
pub type Piece = Result<Vec<Bytes>>;

/// Sends the metadata of a place, piece by piece. Blocks while the pieces before wait; ends early when nobody
/// receives any more.
pub fn send(archive: &Archive, place: &Place, form: Form, urls: &Urls, pieces: &Sender<Piece>) {
    let bulk_data = |uids: &InstanceUids| urls.bulk_data(uids);
    match found(archive, place, form, &bulk_data) {
        Ok(Some(found)) => hand_over(found, pieces),
        Ok(None) => drop(pieces.blocking_send(NotFoundSnafu { what: place.to_string() }.fail())),
        Err(error) => drop(pieces.blocking_send(Err(error))),
    }
}

type Pieces<'a> = Box<dyn Iterator<Item = Piece> + 'a>;

/// The pieces of a place; `None` where there is nothing.
fn found<'a>(
    archive: &Archive,
    place: &Place,
    form: Form,
    bulk_data: BulkDataUri<'a>,
) -> Result<Option<Pieces<'a>>> {
    let (study, series, instance) = (&place.study, place.series.as_deref(), place.instance.as_deref());
    Ok(match form {
        Form::Json => {
            let chunks = archive.metadata(study, series, instance, bulk_data).context(ArchiveSnafu)?;
            let piece = |chunk: Result<_, _>| Ok(vec![Bytes::from(chunk.context(ArchiveSnafu)?)]);
            chunks.map(|chunks| -> Pieces { Box::new(chunks.map(piece)) })
        }
        Form::Xml => {
            let objects =
                archive.metadata_objects(study, series, instance, bulk_data).context(ArchiveSnafu)?;
            objects.map(|objects| -> Pieces { Box::new(Gathered { documents: objects.map(document) }) })
        }
    })
}

fn document(object: Result<Vec<u8>, engram_archive::Error>) -> Result<Bytes> {
    let object = object.context(ArchiveSnafu)?;
    native_model::write(&object).map(Bytes::from).context(WriteXmlSnafu)
}

fn hand_over(pieces: impl Iterator<Item = Piece>, to: &Sender<Piece>) {
    for piece in pieces {
        let failed = piece.is_err();
        if to.blocking_send(piece).is_err() || failed {
            return;
        }
    }
}

/// Documents, some at a time.
struct Gathered<I> {
    documents: I,
}

impl<I: Iterator<Item = Result<Bytes>>> Iterator for Gathered<I> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let (mut gathered, mut length) = (Vec::new(), 0);
        while length < PIECE {
            match self.documents.next() {
                Some(Ok(document)) => {
                    length += document.len();
                    gathered.push(document);
                }
                Some(Err(error)) => return Some(Err(error)),
                None => break,
            }
        }
        (!gathered.is_empty()).then_some(Ok(gathered))
    }
}
