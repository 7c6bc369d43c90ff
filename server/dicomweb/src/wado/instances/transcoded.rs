//! Answers of which something is transcoded while they are sent.

use std::sync::Arc;

use actix_web::HttpResponse;
use bytes::Bytes;
use engram_archive::InstanceEntry;
use engram_imaging::TargetSyntax;
use futures_util::{Stream, StreamExt, stream};

use super::service::{self, DICOM, Part, part_type};
use crate::error::{Error, NotFoundSnafu, Result};
use crate::media::Offer;
use crate::multipart::MultipartWriter;
use crate::state::DicomWeb;
use crate::wado::answer::{self, Answer, Wishes};
use crate::wado::body::{Segment, pieces};
use crate::wado::entity::{EntityTag, tagged};

/// Sends instances in a transfer syntax, one after the other: no more than one is in memory. The first is
/// transcoded before the answer begins, so that what cannot be had has a status; what fails later breaks the
/// connection off, so that the client notices.
pub async fn send(
    state: &DicomWeb,
    entries: Vec<InstanceEntry>,
    target: TargetSyntax,
    offer: &Offer,
    wishes: &Wishes,
) -> Result<HttpResponse> {
    service::check_sizes(&entries, target, &state.options)?;
    let tag = EntityTag::of(&entries, offer, "");
    if let Some(unchanged) = wishes.known.unchanged(&tag) {
        return Ok(unchanged);
    }
    let mut entries = entries.into_iter();
    let Some(first) = entries.next() else { return NotFoundSnafu { what: "instance" }.fail() };
    let (data, alone) = (state.clone(), entries.len() == 0);
    let location = wishes.urls.retrieve_instance(&first.uids);
    let make_first = move || match alone {
        true => service::part(first, target, &data.options),
        false => service::part_of_several(first, target, &data.options),
    };
    let first = state.decoding(make_first).await?;
    let buffer_bytes = state.options.buffer_bytes;
    if alone {
        let content_type = part_type(first.transfer_syntax());
        let part = answer::Part { content_type, location: Some(location), content: vec![segment(first)] };
        return Ok(Answer::new(state, wishes, offer, vec![part], Some(tag))?.into_response());
    }
    let writer = state.multipart();
    let mut response = HttpResponse::Ok();
    tagged(&mut response, &tag).content_type(writer.content_type(DICOM));
    let (state, urls) = (state.clone(), wishes.urls.clone());
    let others = stream::iter(entries).then(move |entry| {
        let location = urls.retrieve_instance(&entry.uids);
        let part = next(state.clone(), entry, target);
        async move { Ok((part.await?, location)) }
    });
    let parts = stream::iter([Ok((first, location))]).chain(others);
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
    parts: impl Stream<Item = Result<(Part, String)>>,
    buffer_bytes: usize,
) -> impl Stream<Item = Result<Bytes>> {
    let end = writer.end();
    parts
        .flat_map(move |part| match part {
            Ok((Part::Transcoded(bytes, syntax), location)) => {
                let start = writer.part_start(&part_type(syntax), Some(&location));
                stream::iter([Ok(start), Ok(bytes)]).left_stream()
            }
            Ok((part, location)) => {
                let start = writer.part_start(&part_type(part.transfer_syntax()), Some(&location));
                let segments = vec![Segment::Bytes(start), segment(part)];
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

fn segment(part: Part) -> Segment {
    match part {
        Part::Stored(entry) => service::file(&entry),
        Part::Transcoded(bytes, _) => Segment::Bytes(bytes),
    }
}
