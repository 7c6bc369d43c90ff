//! Pictures as an answer: one body, or parts.

use actix_web::HttpResponse;
use actix_web::http::header;
use bytes::{Bytes, BytesMut};

use super::pictures::{Chunk, PictureSource, Pictures};
use crate::error::Result;
use crate::multipart::MultipartWriter;
use crate::state::{DicomWeb, Urls};
use crate::wado::entity::{Known, tagged};
use crate::wado::producer::{self, Producer};

/// How pictures are sent.
pub enum Form {
    /// The one picture is the body.
    Single,
    /// A part for each picture, with the URL of what it shows.
    Parts(Urls),
}

/// Sends pictures, each made when the one before it was sent.
pub async fn answer(
    state: DicomWeb,
    source: PictureSource,
    form: Form,
    media_type: &'static str,
    warning: Option<String>,
    known: &Known,
) -> Result<HttpResponse> {
    let tag = source.tag(media_type, matches!(form, Form::Parts(_)));
    let mut response = HttpResponse::Ok();
    if let Some(tag) = &tag {
        if let Some(unchanged) = known.unchanged(tag) {
            return Ok(unchanged);
        }
        tagged(&mut response, tag);
    }
    if let Some(warning) = warning {
        response.insert_header((header::WARNING, warning));
    }
    let is_one = matches!(form, Form::Single) && !source.animated;
    let mut sender =
        Sender { pictures: Pictures::new(state.clone(), source), framing: None, is_ended: false };
    response.content_type(match form {
        Form::Single => media_type.to_owned(),
        Form::Parts(urls) => {
            let writer = state.multipart();
            let content_type = writer.content_type(media_type);
            sender.framing = Some(Framing { writer, urls, media_type });
            content_type
        }
    });
    match is_one {
        true => Ok(response.body(producer::next(&state, sender).await?.0.unwrap_or_default())),
        false => producer::stream(state, response, sender).await,
    }
}

struct Framing {
    writer: MultipartWriter,
    urls: Urls,
    media_type: &'static str,
}

struct Sender {
    pictures: Pictures,
    framing: Option<Framing>,
    is_ended: bool,
}

impl Producer for Sender {
    fn produce(&mut self) -> Result<Option<Bytes>> {
        if self.is_ended {
            return Ok(None);
        }
        let chunk = self.pictures.next_chunk()?;
        self.is_ended = chunk.is_none();
        let Some(framing) = &self.framing else { return Ok(chunk.map(|chunk| chunk.bytes)) };
        Ok(Some(chunk.map_or_else(|| framing.writer.end(), |chunk| framing.framed(chunk))))
    }
}

impl Framing {
    fn framed(&self, chunk: Chunk) -> Bytes {
        let Some((uids, frame)) = chunk.begins else { return chunk.bytes };
        let instance = self.urls.retrieve_instance(&uids);
        let location = match frame {
            Some(frame) => format!("{instance}/frames/{frame}/rendered"),
            None => format!("{instance}/rendered"),
        };
        let mut framed = BytesMut::from(self.writer.part_start(self.media_type, Some(&location)));
        framed.extend_from_slice(&chunk.bytes);
        framed.freeze()
    }
}
