//! `GET /studies/{study}[/series/{series}[/instances/{instance}]]/metadata`

use std::hash::{DefaultHasher, Hasher};

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::mpsc;

use super::service::{self, Form, Piece};
use crate::error::{Error, Result};
use crate::media::Offer;
use crate::multipart::MultipartWriter;
use crate::place::Place;
use crate::state::{DicomWeb, attribute_offers, negotiate};

/// Most bytes gathered before sending: an answer up to this size has a `Content-Length` and an `ETag`; a larger
/// one is streamed without.
const GATHERED_BYTES: usize = 8 << 20;
/// Pieces of about a megabyte that wait to be sent.
const WAITING_PIECES: usize = 4;

/// Sends the archive's ready JSON, or XML made of it.
pub async fn metadata(request: HttpRequest, state: Data<DicomWeb>, place: Place) -> Result<HttpResponse> {
    let offer = negotiate(&request, &attribute_offers())?;
    let framing = Framing::of(&offer);
    let form = framing.form();
    let urls = state.urls(&request);
    let (sender, mut pieces) = mpsc::channel(WAITING_PIECES);
    let archive = state.archive.clone();
    drop(actix_web::rt::task::spawn_blocking(move || service::send(&archive, &place, form, &urls, &sender)));

    let mut response = HttpResponse::Ok();
    response.content_type(framing.content_type(&offer));
    let mut gathered = Vec::new();
    let mut tag = EntityTag::of(&offer);
    while let Some(piece) = pieces.recv().await {
        let piece = piece?;
        tag.take(&piece);
        framing.frame(&piece, &mut gathered);
        if gathered.len() > GATHERED_BYTES {
            return Ok(response.streaming(rest(gathered, pieces, framing)));
        }
    }
    // An array has at least its brackets, and there is at least one document: without them, the work was given up
    // before it could say why.
    if gathered.is_empty() {
        return Err(Error::GivenUp);
    }
    gathered.extend_from_slice(&framing.end());
    let tag = tag.finish();
    response.insert_header((header::ETAG, tag.clone()));
    match is_unchanged(&request, &tag) {
        true => Ok(HttpResponse::NotModified().insert_header((header::ETAG, tag)).finish()),
        false => Ok(response.body(gathered)),
    }
}

/// What goes around the pieces.
enum Framing {
    /// Nothing: they are one JSON array.
    Json,
    /// Each document is a part.
    Xml(MultipartWriter),
}

impl Framing {
    fn of(offer: &Offer) -> Self {
        match offer.multipart {
            true => Self::Xml(MultipartWriter::new()),
            false => Self::Json,
        }
    }

    fn form(&self) -> Form {
        match self {
            Self::Json => Form::Json,
            Self::Xml(_) => Form::Xml,
        }
    }

    fn content_type(&self, offer: &Offer) -> String {
        match self {
            Self::Json => offer.media_type.to_owned(),
            Self::Xml(writer) => writer.content_type(offer.media_type),
        }
    }

    /// Writes a piece behind what is there.
    fn frame(&self, piece: &[Bytes], out: &mut Vec<u8>) {
        let start = match self {
            Self::Json => Bytes::new(),
            Self::Xml(writer) => writer.part_start(crate::native_model::MEDIA_TYPE, None),
        };
        for bytes in piece {
            out.extend_from_slice(&start);
            out.extend_from_slice(bytes);
        }
    }

    fn end(&self) -> Bytes {
        match self {
            Self::Json => Bytes::new(),
            Self::Xml(writer) => writer.end(),
        }
    }
}

fn rest(
    first: Vec<u8>,
    pieces: mpsc::Receiver<Piece>,
    framing: Framing,
) -> impl Stream<Item = Result<Bytes>> {
    let first = stream::iter([Ok(first.into())]);
    let others = stream::unfold((pieces, Some(framing)), |(mut pieces, framing)| async move {
        let framing = framing?;
        match pieces.recv().await {
            Some(Ok(piece)) => {
                let mut framed = Vec::new();
                framing.frame(&piece, &mut framed);
                Some((Ok(framed.into()), (pieces, Some(framing))))
            }
            Some(Err(error)) => Some((Err(error), (pieces, None))),
            None => Some((Ok(framing.end()), (pieces, None))),
        }
    });
    first.chain(others)
}

/// A weak validator of what is sent, whatever boundary is between its parts.
struct EntityTag(DefaultHasher);

impl EntityTag {
    fn of(offer: &Offer) -> Self {
        let mut hasher = DefaultHasher::new();
        // JSON has its type's name in its header alone, and its bytes are the same under both names.
        hasher.write_u8(u8::from(offer.multipart));
        Self(hasher)
    }

    fn take(&mut self, piece: &[Bytes]) {
        piece.iter().for_each(|bytes| self.0.write(bytes));
    }

    fn finish(self) -> String {
        format!("W/\"{:016x}\"", self.0.finish())
    }
}

/// Whether `If-None-Match` (RFC 9110 13.1.2) names this entity.
fn is_unchanged(request: &HttpRequest, tag: &str) -> bool {
    let values = request.headers().get_all(header::IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|known| matches!(known.trim(), known if known == tag || known == "*"))
}
