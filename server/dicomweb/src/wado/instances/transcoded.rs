//! Answers of which something is transcoded while they are sent.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use engram_archive::InstanceEntry;
use engram_imaging::TargetSyntax;
use futures_util::{Stream, StreamExt, stream};

use super::service::{self, DICOM, Part, part_type};
use crate::error::{Error, NotFoundSnafu, Result};
use crate::media::Offer;
use crate::multipart::MultipartWriter;
use crate::state::DicomWeb;
use crate::wado::answer;
use crate::wado::body::{Segment, pieces};

/// Sends instances in a transfer syntax, one after the other: no more than one is in memory. The first is
/// transcoded before the answer begins, so that what cannot be had has a status; what fails later breaks the
/// connection off, so that the client notices.
pub async fn send(
    request: &HttpRequest,
    state: &DicomWeb,
    entries: Vec<InstanceEntry>,
    target: TargetSyntax,
    offer: &Offer,
) -> Result<HttpResponse> {
    service::check_sizes(&entries, target, &state.options)?;
    let mut entries = entries.into_iter();
    let Some(first) = entries.next() else { return NotFoundSnafu { what: "instance" }.fail() };
    let (data, alone) = (state.clone(), entries.len() == 0);
    let make_first = move || match alone {
        true => service::part(first, target, &data.options),
        false => service::part_of_several(first, target, &data.options),
    };
    let first = state.decoding(make_first).await?;
    let buffer_bytes = state.options.buffer_bytes;
    if alone {
        let part = (part_type(first.transfer_syntax()), vec![segment(first)]);
        return answer::send(request, state, offer, vec![part]);
    }
    let writer = state.multipart();
    let mut response = HttpResponse::Ok();
    response.content_type(writer.content_type(DICOM));
    let state = state.clone();
    let others = stream::iter(entries).then(move |entry| next(state.clone(), entry, target));
    let parts = stream::iter([Ok(first)]).chain(others);
    Ok(response.streaming(multipart_body(writer, parts, buffer_bytes)))
}

async fn next(state: DicomWeb, entry: InstanceEntry, target: TargetSyntax) -> Result<Part> {
    let options = Arc::clone(&state.options);
    let part = state.decoding(move || service::part_of_several(entry, target, &options)).await;
    part.inspect_err(
        |error| tracing::error!(%error, "could not transcode an instance while sending its series"),
    )
}

fn multipart_body(
    writer: MultipartWriter,
    parts: impl Stream<Item = Result<Part>>,
    buffer_bytes: usize,
) -> impl Stream<Item = Result<Bytes>> {
    let end = writer.end();
    parts
        .flat_map(move |part| match part {
            Ok(Part::Transcoded(bytes, syntax)) => {
                let start = writer.part_start(&part_type(syntax), None);
                stream::iter([Ok(start), Ok(bytes)]).left_stream()
            }
            Ok(part) => {
                let segments = vec![start(&writer, &part), segment(part)];
                let stored = pieces(segments, buffer_bytes);
                stored
                    .map(|piece| piece.map_err(|source| Error::ReadFile { source }))
                    .boxed_local()
                    .right_stream()
            }
            Err(error) => stream::iter([Err(error)]).boxed_local().right_stream(),
        })
        .chain(stream::iter([Ok(end)]))
}

fn start(writer: &MultipartWriter, part: &Part) -> Segment {
    Segment::Bytes(writer.part_start(&part_type(part.transfer_syntax()), None))
}

fn segment(part: Part) -> Segment {
    match part {
        Part::Stored(entry) => service::file(&entry),
        Part::Transcoded(bytes, _) => Segment::Bytes(bytes),
    }
}
