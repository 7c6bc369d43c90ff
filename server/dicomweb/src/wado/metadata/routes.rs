//! `GET /studies/{study}[/series/{series}[/instances/{instance}]]/metadata`

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::{mpsc, oneshot};

use super::framing::Framing;
use super::service::{self, Answer};
use crate::error::{Error, Result};
use crate::place::Place;
use crate::state::{DicomWeb, attribute_offers, negotiate};
use crate::wado::entity::{Known, tagged};

/// Sends the archive's ready JSON, or XML made of it.
pub async fn metadata(request: HttpRequest, state: Data<DicomWeb>, place: Place) -> Result<HttpResponse> {
    let offer = negotiate(&request, &attribute_offers())?;
    let framing = Framing::of(&offer);
    let content_type = framing.content_type(&offer);
    let urls = state.urls(&request);
    let (sender, answer) = oneshot::channel();
    let archive = state.archive.clone();
    drop(actix_web::rt::task::spawn_blocking(move || {
        service::answer(&archive, &place, framing, &urls, sender)
    }));

    let mut response = HttpResponse::Ok();
    response.content_type(content_type);
    match answer.await.unwrap_or(Err(Error::GivenUp))? {
        Answer::Whole { content, tag } => {
            let unchanged = Known::of(&request).unchanged(&tag);
            Ok(unchanged.unwrap_or_else(|| tagged(&mut response, &tag).body(content)))
        }
        Answer::Begun { content, rest } => Ok(response.streaming(chained(content, rest))),
    }
}

fn chained(first: Vec<u8>, rest: mpsc::Receiver<Result<Bytes>>) -> impl Stream<Item = Result<Bytes>> {
    stream::unfold((Some(first), rest), |(first, mut rest)| async move {
        let next = match first {
            Some(first) => Ok(first.into()),
            None => rest.recv().await?,
        };
        Some((next, (None, rest)))
    })
}
