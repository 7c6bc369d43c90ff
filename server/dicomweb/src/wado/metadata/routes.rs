//! `GET /studies/{study}[/series/{series}[/instances/{instance}]]/metadata`

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;
use tokio::sync::mpsc;

use super::service::{self, Piece};
use crate::error::{Error, Result};
use crate::place::Place;
use crate::state::{DicomWeb, json_offers, negotiate};

/// Most bytes gathered before sending: an answer up to this size has a `Content-Length` and an `ETag`; a larger
/// one is streamed without.
const GATHERED_BYTES: usize = 8 << 20;
/// Pieces of about a megabyte that wait to be sent.
const WAITING_PIECES: usize = 4;

/// Sends the archive's ready JSON.
pub async fn metadata(request: HttpRequest, state: Data<DicomWeb>, place: Place) -> Result<HttpResponse> {
    let offer = negotiate(&request, &json_offers())?;
    let urls = state.urls(&request);
    let (sender, mut pieces) = mpsc::channel(WAITING_PIECES);
    let archive = state.archive.clone();
    drop(actix_web::rt::task::spawn_blocking(move || service::send(&archive, &place, &urls, &sender)));

    let mut response = HttpResponse::Ok();
    response.content_type(offer.media_type);
    let mut gathered = Vec::new();
    while let Some(piece) = pieces.recv().await {
        gathered.extend_from_slice(&piece?);
        if gathered.len() > GATHERED_BYTES {
            return Ok(response.streaming(rest(gathered, pieces)));
        }
    }
    // An array has at least its brackets: without them, the work was given up before it could say why.
    if gathered.is_empty() {
        return Err(Error::GivenUp);
    }
    let tag = service::entity_tag(&gathered);
    response.insert_header((header::ETAG, tag.clone()));
    match is_unchanged(&request, &tag) {
        true => Ok(HttpResponse::NotModified().insert_header((header::ETAG, tag)).finish()),
        false => Ok(response.body(gathered)),
    }
}

fn rest(first: Vec<u8>, pieces: mpsc::Receiver<Piece>) -> impl futures_util::Stream<Item = Piece> {
    stream::unfold((Some(first), pieces), |(first, mut pieces)| async move {
        let piece = match first {
            Some(bytes) => Ok(bytes.into()),
            None => pieces.recv().await?,
        };
        Some((piece, (None, pieces)))
    })
}

/// Whether `If-None-Match` (RFC 9110 13.1.2) names this entity.
fn is_unchanged(request: &HttpRequest, tag: &str) -> bool {
    let values = request.headers().get_all(header::IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|known| matches!(known.trim(), known if known == tag || known == "*"))
}
