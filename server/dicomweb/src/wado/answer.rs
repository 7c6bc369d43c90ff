//! Answers whose parts are all known before the first byte is sent.

use actix_web::body::SizedStream;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use snafu::ResultExt;

use super::body::{Chunks, Segment, SegmentReader, read_ahead};
use super::range::{AskedRange, Stretch, stretch};
use crate::error::{RangeNotSatisfiableSnafu, ReadFileSnafu, Result};
use crate::media::Offer;
use crate::multipart::MultipartWriter;
use crate::state::Accepted;

/// A `Content-Type`, and what is of it, in the order in which it is sent.
pub type Part = (String, Vec<Segment>);

/// What a request says of its answer.
pub struct Wishes {
    accepted: Accepted,
    range: AskedRange,
}

impl Wishes {
    /// Fails if the query string cannot be read.
    pub fn of(request: &HttpRequest) -> Result<Self> {
        Ok(Self { accepted: Accepted::of(request)?, range: AskedRange::of(request) })
    }

    /// A media type alone, where a request names it otherwise; and the range.
    pub fn only(media_type: &str, request: &HttpRequest) -> Self {
        Self { accepted: Accepted::only(media_type), range: AskedRange::of(request) }
    }

    /// Chooses among `offers` what the client prefers, or says 406 with the list of them.
    pub fn choose(&self, offers: &[Offer]) -> Result<Offer> {
        self.accepted.choose(offers)
    }
}

/// An answer that is ready to be sent.
pub struct Answer {
    content_type: String,
    extent: Extent,
    length: u64,
    /// What was read already.
    first: Option<Bytes>,
    rest: SegmentReader,
}

/// How much of what was asked for an answer holds.
enum Extent {
    /// All of it, which has no stretches that could be asked for.
    Parts,
    /// All of it.
    Whole,
    /// What `Content-Range` says.
    Stretch(String),
}

impl Answer {
    /// Parts in the form of `offer`: as `multipart/related`, or the one there is alone, or the stretch of it that was
    /// asked for. `buffer_bytes` of files are in memory at a time, and as many ahead.
    pub fn new(wishes: &Wishes, offer: &Offer, parts: Vec<Part>, buffer_bytes: usize) -> Result<Self> {
        match <[Part; 1]>::try_from(parts) {
            Ok([part]) if !offer.multipart => Self::single_part(&wishes.range, part, buffer_bytes),
            Ok(one) => Ok(Self::multipart(offer, one.into(), buffer_bytes)),
            Err(parts) => Ok(Self::multipart(offer, parts, buffer_bytes)),
        }
    }

    fn single_part(range: &AskedRange, (content_type, content): Part, buffer_bytes: usize) -> Result<Self> {
        let length = content.iter().map(Segment::length).sum();
        Ok(match range.of_length(length) {
            Stretch::Whole => Self::of(content_type, Extent::Whole, content, buffer_bytes),
            Stretch::Part(range) => {
                let content_range = format!("bytes {}-{}/{length}", range.start, range.end - 1);
                let segments = stretch(content, &range);
                Self::of(content_type, Extent::Stretch(content_range), segments, buffer_bytes)
            }
            Stretch::Nothing => return RangeNotSatisfiableSnafu { length }.fail(),
        })
    }

    fn multipart(offer: &Offer, parts: Vec<Part>, buffer_bytes: usize) -> Self {
        let writer = MultipartWriter::new();
        let mut segments = Vec::with_capacity(2 * parts.len() + 1);
        for (content_type, content) in parts {
            segments.push(Segment::Bytes(writer.part_start(&content_type, None)));
            segments.extend(content);
        }
        segments.push(Segment::Bytes(writer.end()));
        Self::of(writer.content_type(offer.media_type), Extent::Parts, segments, buffer_bytes)
    }

    fn of(content_type: String, extent: Extent, mut segments: Vec<Segment>, buffer_bytes: usize) -> Self {
        let length = segments.iter().map(Segment::length).sum();
        let first = match segments.as_slice() {
            [Segment::Bytes(bytes)] => Some(bytes.clone()),
            _ => None,
        };
        if first.is_some() {
            segments.clear();
        }
        Self { content_type, extent, length, first, rest: SegmentReader::new(segments, buffer_bytes) }
    }

    /// Reads the first buffer. For those who may block already: what fits into it needs no second turn of the blocking pool,
    /// and goes out at once with its headers; and what cannot be read has a status.
    pub fn begun(mut self) -> Result<Self> {
        if self.first.is_none() {
            self.first = self.rest.next_chunk().context(ReadFileSnafu)?;
        }
        Ok(self)
    }

    /// What is sent.
    pub fn into_response(self) -> HttpResponse {
        let Self { content_type, extent, length, first, rest } = self;
        let mut response = match extent {
            Extent::Stretch(_) => HttpResponse::PartialContent(),
            Extent::Parts | Extent::Whole => HttpResponse::Ok(),
        };
        response.content_type(content_type);
        if let Extent::Stretch(content_range) = &extent {
            response.insert_header((header::CONTENT_RANGE, content_range.as_str()));
        }
        if !matches!(extent, Extent::Parts) {
            response.insert_header((header::ACCEPT_RANGES, "bytes"));
        }
        match first {
            Some(all) if rest.is_at_end() => response.body(all),
            first => {
                let first = stream::iter(first.map(Ok));
                response.body(SizedStream::new(length, first.chain(read_ahead(rest))))
            }
        }
    }
}

/// Sends parts; files are read while they are sent.
pub fn send(
    request: &HttpRequest,
    offer: &Offer,
    parts: Vec<Part>,
    buffer_bytes: usize,
) -> Result<HttpResponse> {
    let answer = Answer::new(&Wishes::of(request)?, offer, parts, buffer_bytes)?;
    Ok(answer.into_response())
}
