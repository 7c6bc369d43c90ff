//! Gets metadata from the archive.

use bytes::Bytes;
use engram_archive::{Archive, InstanceUids};
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
    let (study, series, instance) = (&place.study, place.series.as_deref(), place.instance.as_deref());
    let nothing = || NotFoundSnafu { what: place.to_string() }.fail();
    let outcome = match form {
        Form::Json => match archive.metadata(study, series, instance, &bulk_data).context(ArchiveSnafu) {
            Ok(Some(chunks)) => {
                let chunks = chunks.map(|chunk| Ok(vec![chunk.context(ArchiveSnafu)?.into()]));
                return hand_over(chunks, pieces);
            }
            Ok(None) => nothing(),
            Err(error) => Err(error),
        },
        Form::Xml => {
            match archive.metadata_objects(study, series, instance, &bulk_data).context(ArchiveSnafu) {
                Ok(Some(objects)) => {
                    let documents = objects.map(|object| {
                        let object = object.context(ArchiveSnafu)?;
                        native_model::write(&object).map(Bytes::from).context(WriteXmlSnafu)
                    });
                    return hand_over(Gathered { documents }, pieces);
                }
                Ok(None) => nothing(),
                Err(error) => Err(error),
            }
        }
    };
    drop(pieces.blocking_send(outcome));
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
