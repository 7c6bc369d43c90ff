//! Answers whose parts are all known before the first byte is sent.

use std::{io, mem, vec};

use actix_web::body::{BodyStream, SizedStream};
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use snafu::ResultExt;

use super::body::{Chunks, Piece, Segment, SegmentReader, are_long, read_ahead, sent_by};
use super::entity::{EntityTag, Known, tagged};
use super::range::{AskedRange, Stretch, stretch};
use crate::direct::Outlet;
use crate::error::{RangeNotSatisfiableSnafu, ReadFileSnafu, Result};
use crate::media::Offer;
use crate::state::{Accepted, DicomWeb, Urls};

/// What is sent by itself, or as a part.
pub struct Part {
    /// Its `Content-Type`.
    pub content_type: String,
    /// The resource that it alone is: a part's `Content-Location` (PS3.18 8.6.1.2).
    pub location: Option<String>,
    /// In the order in which they are sent.
    pub content: Vec<Segment>,
}

/// What a request says of its answer.
pub struct Wishes {
    accepted: Accepted,
    range: AskedRange,
    /// What the client has already.
    pub known: Known,
    /// Of what is asked of the server by the client's name for it.
    pub urls: Urls,
    /// That of a connection that can send files itself.
    outlet: Option<Outlet>,
}

impl Wishes {
    /// Fails if the query string cannot be read.
    pub fn of(request: &HttpRequest, state: &DicomWeb) -> Result<Self> {
        Ok(Self::accepting(Accepted::of(request)?, request, state))
    }

    /// A media type alone, where a request names it otherwise; and the range.
    pub fn only(media_type: &str, request: &HttpRequest, state: &DicomWeb) -> Self {
        Self::accepting(Accepted::only(media_type), request, state)
    }

    fn accepting(accepted: Accepted, request: &HttpRequest, state: &DicomWeb) -> Self {
        Self {
            accepted,
            range: AskedRange::of(request),
            known: Known::of(request),
            urls: state.urls(request),
            outlet: Outlet::of(request).cloned(),
        }
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
    /// Which entity it is, where that can be told.
    tag: Option<EntityTag>,
    is_known: bool,
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
    pub fn new(
        state: &DicomWeb,
        wishes: &Wishes,
        offer: &Offer,
        parts: Vec<Part>,
        tag: Option<EntityTag>,
    ) -> Result<Self> {
        let is_known = tag.as_ref().is_some_and(|tag| wishes.known.has(tag));
        let answer = match <[Part; 1]>::try_from(parts) {
            Ok([part]) if !offer.multipart => Self::single_part(state, wishes, part, tag.as_ref())?,
            Ok(one) => Self::multipart(state, wishes, offer, one.into()),
            Err(parts) => Self::multipart(state, wishes, offer, parts),
        };
        Ok(Self { tag, is_known, ..answer })
    }

    fn single_part(
        state: &DicomWeb,
        wishes: &Wishes,
        Part { content_type, content, .. }: Part,
        tag: Option<&EntityTag>,
    ) -> Result<Self> {
        let length = content.iter().map(Segment::length).sum();
        let asked = match wishes.known.allows_range_of(tag) {
            true => wishes.range.of_length(length),
            false => Stretch::Whole,
        };
        let (extent, segments) = match asked {
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
        for Part { content_type, location, content } in parts {
            segments.push(Segment::Bytes(writer.part_start(&content_type, location.as_deref())));
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
        Self { content_type, extent, length, content, tag: None, is_known: false }
    }

    /// Reads the first buffer, or opens the first file. For those who may block already: what fits into the buffer needs
    /// no second turn of the blocking pool, and goes out at once with its headers; and what cannot be read has a status.
    pub fn begun(mut self) -> Result<Self> {
        if !self.is_known {
            self.content.begin().context(ReadFileSnafu)?;
        }
        Ok(self)
    }

    /// What is sent.
    pub fn into_response(self) -> HttpResponse {
        let Self { content_type, extent, length, content, tag, is_known } = self;
        let mut response = match extent {
            _ if is_known => HttpResponse::NotModified(),
            Extent::Stretch(_) => HttpResponse::PartialContent(),
            Extent::Parts | Extent::Whole => HttpResponse::Ok(),
        };
        if let Some(tag) = &tag {
            tagged(&mut response, tag);
        }
        if is_known {
            return response.finish();
        }
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
    tag: Option<EntityTag>,
) -> Result<HttpResponse> {
    let answer = Answer::new(state, &Wishes::of(request, state)?, offer, parts, tag)?;
    Ok(answer.into_response())
}
