//! Gets metadata from the archive.

use bytes::Bytes;
use engram_archive::{Archive, BulkDataUri, InstanceUids};
use snafu::ResultExt;
use tokio::sync::{mpsc, oneshot};

use super::framing::{Fingerprint, Framing};
use crate::error::{ArchiveSnafu, NotFoundSnafu, Result, WriteXmlSnafu};
use crate::native_model;
use crate::place::Place;
use crate::state::Urls;
use crate::wado::entity::EntityTag;

/// Most bytes gathered before sending: an answer up to this size has a `Content-Length` and an `ETag`; a larger
/// one is streamed without.
const GATHERED_BYTES: usize = 8 << 20;
/// About how much is handed over at once after that, in bytes, and how many such stretches wait to be sent.
const STRETCH_BYTES: usize = 1 << 20;
const WAITING_STRETCHES: usize = 4;

/// What is known of an answer before its head is sent.
pub enum Answer {
    /// All of it, and its `ETag`.
    Whole { content: Vec<u8>, tag: EntityTag },
    /// How it begins, and what comes after, or why nothing more does.
    Begun { content: Vec<u8>, rest: mpsc::Receiver<Result<Bytes>> },
}

/// Answers with the metadata of a place. An answer that is whole is there with one change of thread; of one that is not, this sends
/// the rest: it blocks while what was sent before waits, and ends early when nobody receives any more.
pub fn answer(
    archive: &Archive,
    place: &Place,
    framing: Framing,
    urls: &Urls,
    to: oneshot::Sender<Result<Answer>>,
) {
    let bulk_data = |uids: &InstanceUids| urls.bulk_data(uids);
    let begun = found(archive, place, &framing, &bulk_data)
        .and_then(|found| found.ok_or_else(|| NotFoundSnafu { what: place.to_string() }.build()))
        .and_then(|mut pieces| Ok((begin(&mut pieces, &framing)?, pieces)));
    match begun {
        Err(error) => drop(to.send(Err(error))),
        Ok((Begin { content, tag: Some(tag) }, _)) => drop(to.send(Ok(Answer::Whole { content, tag }))),
        Ok((Begin { content, tag: None }, pieces)) => {
            let (sender, rest) = mpsc::channel(WAITING_STRETCHES);
            if to.send(Ok(Answer::Begun { content, rest })).is_ok() {
                hand_over(pieces, &framing, &sender);
            }
        }
    }
}

/// The first bytes of an answer, and where they are all, its tag.
struct Begin {
    content: Vec<u8>,
    tag: Option<EntityTag>,
}

fn begin(pieces: &mut Pieces, framing: &Framing) -> Result<Begin> {
    let (mut content, mut tag) = (Vec::new(), Fingerprint::of(framing));
    for piece in pieces {
        let piece = piece?;
        tag.take(&piece);
        framing.frame(&piece, &mut content);
        if content.len() > GATHERED_BYTES {
            return Ok(Begin { content, tag: None });
        }
    }
    content.extend_from_slice(&framing.end());
    Ok(Begin { content, tag: Some(tag.finish()) })
}

fn hand_over(pieces: Pieces, framing: &Framing, to: &mpsc::Sender<Result<Bytes>>) {
    let mut stretch = Vec::new();
    for piece in pieces {
        match piece {
            Ok(piece) => framing.frame(&piece, &mut stretch),
            Err(error) => return drop(to.blocking_send(Err(error))),
        }
        if stretch.len() >= STRETCH_BYTES
            && to.blocking_send(Ok(std::mem::take(&mut stretch).into())).is_err()
        {
            return;
        }
    }
    stretch.extend_from_slice(&framing.end());
    let _ = to.blocking_send(Ok(stretch.into()));
}

/// Stretches of a JSON array, or XML documents.
type Pieces<'a> = Box<dyn Iterator<Item = Result<Vec<u8>>> + 'a>;

/// The pieces of a place; `None` where there is nothing.
fn found<'a>(
    archive: &Archive,
    place: &Place,
    framing: &Framing,
    bulk_data: BulkDataUri<'a>,
) -> Result<Option<Pieces<'a>>> {
    let (study, series, instance) = (&place.study, place.series.as_deref(), place.instance.as_deref());
    Ok(match framing {
        Framing::Json => {
            let chunks = archive.metadata(study, series, instance, bulk_data).context(ArchiveSnafu)?;
            chunks.map(|chunks| -> Pieces { Box::new(chunks.map(|chunk| chunk.context(ArchiveSnafu))) })
        }
        Framing::Xml(_) => {
            let objects =
                archive.metadata_objects(study, series, instance, bulk_data).context(ArchiveSnafu)?;
            objects.map(|objects| -> Pieces { Box::new(objects.map(document)) })
        }
    })
}

fn document(object: Result<Vec<u8>, engram_archive::Error>) -> Result<Vec<u8>> {
    native_model::write(&object.context(ArchiveSnafu)?).context(WriteXmlSnafu)
}
