//! Answers whose parts are all known before the first byte is sent.

use actix_web::{HttpRequest, HttpResponse};

use super::body::{Segment, body};
use super::range::single_part;
use crate::error::Result;
use crate::media::Offer;
use crate::multipart::MultipartWriter;

/// A `Content-Type`, and what is of it.
pub type Part = (String, Segment);

/// Sends parts in the form of `offer`: as `multipart/related`, or the one there is alone, or the stretch of it that a
/// range request asks for.
pub fn send(
    request: &HttpRequest,
    offer: &Offer,
    parts: Vec<Part>,
    buffer_bytes: usize,
) -> Result<HttpResponse> {
    let parts = match <[Part; 1]>::try_from(parts) {
        Ok([(content_type, content)]) if !offer.multipart => {
            return single_part(request, &content_type, vec![content], buffer_bytes);
        }
        Ok(one) => one.into(),
        Err(parts) => parts,
    };
    let writer = MultipartWriter::new();
    let mut segments = Vec::with_capacity(2 * parts.len() + 1);
    for (content_type, content) in parts {
        segments.extend([Segment::Bytes(writer.part_start(&content_type, None)), content]);
    }
    segments.push(Segment::Bytes(writer.end()));
    Ok(HttpResponse::Ok()
        .content_type(writer.content_type(offer.media_type))
        .body(body(segments, buffer_bytes)))
}
