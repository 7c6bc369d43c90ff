//! Answers whose parts are all known before the first byte is sent.

use std::{io, mem, vec};

use actix_web::body::{BodyStream, SizedStream};
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use snafu::ResultExt;

use super::body::{Chunks, Piece, Segment, SegmentReader, are_long, read_ahead, sent_by};
use super::range::{AskedRange, Stretch, stretch};
use crate::direct::Outlet;
use crate::error::{RangeNotSatisfiableSnafu, ReadFileSnafu, Result};
use crate::media::Offer;
use crate::state::{Accepted, DicomWeb};

/// A `Content-Type`, and what is of it, in the order in which it is sent.
pub type Part = (String, Vec<Segment>);

/// What a request says of its answer.
pub struct Wishes {
    accepted: Accepted,
    range: AskedRange,
    /// That of a connection that can send files itself.
    outlet: Option<Outlet>,
}

impl Wishes {
    /// Fails if the query string cannot be read.
    pub fn of(request: &HttpRequest) -> Result<Self> {
        Ok(Self::accepting(Accepted::of(request)?, request))
    }

    /// A media type alone, where a request names it otherwise; and the range.
    pub fn only(media_type: &str, request: &HttpRequest) -> Self {
        Self::accepting(Accepted::only(media_type), request)
    }

    fn accepting(accepted: Accepted, request: &HttpRequest) -> Self {
        Self { accepted, range: AskedRange::of(request), outlet: Outlet::of(request).cloned() }
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
    content: Content,
}

/// Where the bytes of an answer come from.
enum Content {
    /// From memory.
    Memory(Bytes),
    /// What was read already, and what is read while it is sent.
    Read(Option<Bytes>, SegmentReader),
    /// From files that the connection sends: what is open, and the rest.
    Sent(Outlet, Vec<Piece>, vec::IntoIter<Segment>),
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
    /// asked for. A buffer of files is in memory at a time, and as much ahead.
    pub fn new(state: &DicomWeb, wishes: &Wishes, offer: &Offer, parts: Vec<Part>) -> Result<Self> {
        match <[Part; 1]>::try_from(parts) {
            Ok([part]) if !offer.multipart => Self::single_part(state, wishes, part),
            Ok(one) => Ok(Self::multipart(state, wishes, offer, one.into())),
            Err(parts) => Ok(Self::multipart(state, wishes, offer, parts)),
        }
    }

    fn single_part(state: &DicomWeb, wishes: &Wishes, (content_type, content): Part) -> Result<Self> {
        let length = content.iter().map(Segment::length).sum();
        let (extent, segments) = match wishes.range.of_length(length) {
            Stretch::Whole => (Extent::Whole, content),
            Stretch::Part(range) => {
                let content_range = format!("bytes {}-{}/{length}", range.start, range.end - 1);
                (Extent::Stretch(content_range), stretch(content, &range))
            }
            Stretch::Nothing => return RangeNotSatisfiableSnafu { length }.fail(),
        };
        Ok(Self::of(state, wishes, content_type, extent, segments))
    }

    fn multipart(state: &DicomWeb, wishes: &Wishes, offer: &Offer, parts: Vec<Part>) -> Self {
        let writer = state.multipart();
        let mut segments = Vec::with_capacity(2 * parts.len() + 1);
        for (content_type, content) in parts {
            segments.push(Segment::Bytes(writer.part_start(&content_type, None)));
            segments.extend(content);
        }
        segments.push(Segment::Bytes(writer.end()));
        Self::of(state, wishes, writer.content_type(offer.media_type), Extent::Parts, segments)
    }

    fn of(
        state: &DicomWeb,
        wishes: &Wishes,
        content_type: String,
        extent: Extent,
        segments: Vec<Segment>,
    ) -> Self {
        let length = segments.iter().map(Segment::length).sum();
        // What may be compressed on its way must pass through it.
        let outlet = wishes.outlet.clone().filter(|_| !may_be_compressed(&content_type));
        let content = Content::of(segments, outlet, state.options.buffer_bytes);
        Self { content_type, extent, length, content }
    }

    /// Reads the first buffer, or opens the first file. For those who may block already: what fits into the buffer needs
    /// no second turn of the blocking pool, and goes out at once with its headers; and what cannot be read has a status.
    pub fn begun(mut self) -> Result<Self> {
        self.content.begin().context(ReadFileSnafu)?;
        Ok(self)
    }

    /// What is sent.
    pub fn into_response(self) -> HttpResponse {
        let Self { content_type, extent, length, content } = self;
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
        match content {
            Content::Memory(all) => response.body(all),
            Content::Read(Some(all), rest) if rest.is_at_end() => response.body(all),
            Content::Read(first, rest) => {
                let first = stream::iter(first.map(Ok));
                response.body(SizedStream::new(length, first.chain(read_ahead(rest))))
            }
            Content::Sent(outlet, opened, rest) => {
                // Shorter than it says, since the connection puts the files in.
                response.no_chunking(length).body(BodyStream::new(sent_by(outlet, opened, rest)))
            }
        }
    }
}

impl Content {
    fn of(mut segments: Vec<Segment>, outlet: Option<Outlet>, buffer_bytes: usize) -> Self {
        if let [Segment::Bytes(bytes)] = segments.as_mut_slice() {
            return Self::Memory(mem::take(bytes));
        }
        match outlet.filter(|_| are_long(&segments)) {
            Some(outlet) => Self::Sent(outlet, vec![], segments.into_iter()),
            None => Self::Read(None, SegmentReader::new(segments, buffer_bytes)),
        }
    }

    /// Reads the first buffer, or opens what there is up to the first file. Blocks.
    fn begin(&mut self) -> io::Result<()> {
        match self {
            Self::Memory(_) => {}
            Self::Read(first, rest) => *first = rest.next_chunk()?,
            Self::Sent(_, opened, rest) => {
                while !matches!(opened.last(), Some(Piece::File(..))) {
                    let Some(segment) = rest.next() else { break };
                    opened.push(Piece::open(segment)?);
                }
            }
        }
        Ok(())
    }
}

/// Whether the server around may compress an answer of that type: text. Connections send files past that.
fn may_be_compressed(content_type: &str) -> bool {
    content_type.starts_with("text/")
}

/// Sends parts; files are read while they are sent.
pub fn send(
    request: &HttpRequest,
    state: &DicomWeb,
    offer: &Offer,
    parts: Vec<Part>,
) -> Result<HttpResponse> {
    let answer = Answer::new(state, &Wishes::of(request)?, offer, parts)?;
    Ok(answer.into_response())
}
