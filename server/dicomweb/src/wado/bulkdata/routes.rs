//! `GET …/instances/{instance}/bulkdata/{tag}[/{item}/{tag}…]`, and
//! `GET /studies/{study}[/series/{series}[/instances/{instance}]]/bulkdata`

use std::ops::Range;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use engram_archive::{BulkData, BulkValue, InstanceEntry};
use engram_imaging::word_bytes;
use snafu::ResultExt;

use super::parts::{Parts, Wanted};
use crate::error::{ArchiveSnafu, NotFoundSnafu, ReadFileSnafu, Result, TooLargeToDecodeSnafu};
use crate::media::Offer;
use crate::options::DicomWebOptions;
use crate::place::Place;
use crate::state::{DicomWeb, blocking, negotiate};
use crate::wado::answer::{self, Part};
use crate::wado::body::{Segment, read_range};
use crate::wado::document::{encapsulated, guarded};
use crate::wado::entity::EntityTag;
use crate::wado::frames::{FrameSet, OCTETS, routes::send};
use crate::wado::{PIXEL_DATA, object, producer, video};

/// What was found at a path.
pub enum Found {
    /// A value that goes out as it is stored.
    Value(Segment),
    /// Pixel data that must be taken frame by frame: compressed, to be compressed, or big endian.
    Frames(FrameSet),
    /// Pixel data that is one stream, which goes out as it is stored.
    Video(Video),
}

/// A stream of frames.
pub struct Video {
    pub media_type: &'static str,
    pub transfer_syntax: String,
    pub segments: Vec<Segment>,
}

/// Sends one value as `application/octet-stream`, little endian; a document also as what it is. Pixel data that is compressed, or that the client
/// accepts only so, goes out as [`frames`](crate::wado::frames) sends it, a part for each frame.
pub async fn bulkdata(request: HttpRequest, state: Data<DicomWeb>, place: Place) -> Result<HttpResponse> {
    let path = request.match_info().get("path").unwrap_or_default().to_owned();
    send_value(&request, state, place, path).await
}

/// Sends every value that the metadata of a study, a series or an instance names by a BulkDataURI, a part each; pixel data uncompressed, where it is
/// stored compressed a part for each frame; a video as the stream that it is.
pub async fn every(request: HttpRequest, state: Data<DicomWeb>, place: Place) -> Result<HttpResponse> {
    send_all(&request, state, place, Wanted::BulkData).await
}

/// Sends values of all instances at a place.
pub async fn send_all(
    request: &HttpRequest,
    state: Data<DicomWeb>,
    place: Place,
    wanted: Wanted,
) -> Result<HttpResponse> {
    let offer = negotiate(request, &[Parts::offer()])?;
    let data = state.clone();
    let entries = blocking(move || object::entries(&data.archive, &place)).await?;
    let writer = state.multipart();
    let mut response = HttpResponse::Ok();
    response.content_type(writer.content_type(offer.media_type));
    let parts = Parts::new(state.as_ref().clone(), wanted, entries, writer, state.urls(request));
    producer::stream(state.as_ref().clone(), response, parts).await
}

/// Sends the value at a path.
pub async fn send_value(
    request: &HttpRequest,
    state: Data<DicomWeb>,
    place: Place,
    path: String,
) -> Result<HttpResponse> {
    let mut offers = vec![Offer::multipart(OCTETS), Offer::single(OCTETS)];
    let as_octets = negotiate(request, &offers).is_ok();
    let (data, wanted) = (state.clone(), path.clone());
    let find = move || {
        let entry = object::entry(&data.archive, &place)?;
        let document = if wanted == encapsulated::PATH {
            encapsulated::media_type(&data.archive, &entry)?
        } else {
            None
        };
        Ok((find(&data, &entry, &wanted, as_octets)?, document, entry))
    };
    let (found, document, entry) = state.decoding(find).await?;
    offers.extend(document.into_iter().flat_map(|kind| [Offer::multipart(kind), Offer::single(kind)]));
    let (part_type, segments) = match found {
        Found::Value(segment) => (None, vec![segment]),
        Found::Frames(set) => {
            let all = (1..=set.len()).collect();
            return send(request, &state, set, all).await;
        }
        Found::Video(Video { media_type, transfer_syntax, segments }) => {
            let forms = [Offer::multipart(media_type), Offer::single(media_type)];
            offers = forms.map(|form| form.in_syntax(transfer_syntax.as_str())).to_vec();
            (Some(format!("{media_type}; transfer-syntax={transfer_syntax}")), segments)
        }
    };
    let offer = negotiate(request, &offers)?;
    let instance = state.urls(request).retrieve_instance(&entry.uids);
    let part = Part {
        content_type: part_type.unwrap_or_else(|| offer.media_type.to_owned()),
        location: Some(format!("{instance}/bulkdata/{path}")),
        content: segments,
    };
    let tag = EntityTag::of([&entry], &offer, &path);
    answer::send(request, &state, &offer, vec![part], Some(tag)).map(guarded)
}

/// Finds the value at a path of an instance. `as_octets`: whether the client accepts `application/octet-stream`.
pub fn find(state: &DicomWeb, entry: &InstanceEntry, path: &str, as_octets: bool) -> Result<Found> {
    let found = state.archive.bulk_data(entry, path).context(ArchiveSnafu)?;
    let Some(BulkData { vr, big_endian, value }) = found else {
        let what = format!("bulk data {path:.120} of instance {}", entry.uids.sop_instance_uid);
        return NotFoundSnafu { what }.fail();
    };
    let encapsulated = matches!(value, BulkValue::Encapsulated { .. });
    let transfer_syntax = entry.transfer_syntax_uid.as_str();
    if let Some(media_type) = video::media_type(transfer_syntax).filter(|_| encapsulated) {
        let segments = video::segments(entry, &value);
        return Ok(Found::Video(Video { media_type, transfer_syntax: transfer_syntax.to_owned(), segments }));
    }
    if encapsulated || (path == PIXEL_DATA && (big_endian || !as_octets)) {
        return FrameSet::open(entry, 1, &state.options).map(Found::Frames);
    }
    Ok(Found::Value(match value {
        BulkValue::Native(range) if big_endian => {
            Segment::Bytes(swapped(entry, range, word_bytes(vr), &state.options)?)
        }
        BulkValue::Native(range) => Segment::File { path: entry.path.clone(), range },
        BulkValue::Inflated(bytes) => Segment::Bytes(bytes.into()),
        BulkValue::Encapsulated { .. } => Segment::Bytes(Bytes::new()),
    }))
}

/// A big endian value in little endian.
fn swapped(
    entry: &InstanceEntry,
    range: Range<u64>,
    word: usize,
    options: &DicomWebOptions,
) -> Result<Bytes> {
    let (size, limit) = (range.end.saturating_sub(range.start), options.max_decode_bytes);
    if size > limit {
        return TooLargeToDecodeSnafu { size, limit }.fail();
    }
    let mut bytes = read_range(&entry.path, range).context(ReadFileSnafu)?;
    bytes.chunks_exact_mut(word).for_each(<[u8]>::reverse);
    Ok(bytes.into())
}
