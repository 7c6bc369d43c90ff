//! The data set in a request, and the one in an answer.

use actix_web::http::header;
use actix_web::web::{BytesMut, Payload};
use actix_web::{HttpRequest, HttpResponse};
use engram_worklist::Attributes;
use futures_util::StreamExt;
use serde_json::Value;
use snafu::ResultExt;

use crate::error::{
    BadDataSetSnafu, ReadBodySnafu, ReadTimeoutSnafu, RequestTooLargeSnafu, Result,
    UnsupportedMediaTypeSnafu, WriteJsonSnafu, WriteXmlSnafu,
};
use crate::media::{MediaType, Offer};
use crate::native_model;
use crate::options::DicomWebOptions;

/// The media types that a data set comes in.
pub const TAKEN: [&str; 3] = ["application/dicom+json", "application/json", native_model::MEDIA_TYPE];

/// Reads a request's data set: as DICOM JSON one object, or an array with one; or as XML. No body at all is `None`.
pub async fn data_set(
    request: &HttpRequest,
    body: Payload,
    options: &DicomWebOptions,
) -> Result<Option<Attributes>> {
    let bytes = gather(body, options).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let found =
        request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = MediaType::parse(found).map(|media_type| media_type.essence);
    match essence.as_deref().filter(|essence| TAKEN.contains(essence)) {
        None => UnsupportedMediaTypeSnafu { found }.fail(),
        Some(native_model::MEDIA_TYPE) => match native_model::read(&bytes) {
            Ok(attributes) => Ok(Some(attributes)),
            Err(error) => BadDataSetSnafu { problem: error.to_string() }.fail(),
        },
        Some(_) => json(&bytes).map(Some),
    }
}

/// The data set where there must be one.
pub async fn required(request: &HttpRequest, body: Payload, options: &DicomWebOptions) -> Result<Attributes> {
    match data_set(request, body, options).await? {
        Some(attributes) => Ok(attributes),
        None => BadDataSetSnafu { problem: "the request has no body" }.fail(),
    }
}

async fn gather(mut body: Payload, options: &DicomWebOptions) -> Result<BytesMut> {
    let limit = options.max_workitem_bytes;
    let mut bytes = BytesMut::new();
    loop {
        match tokio::time::timeout(options.read_timeout, body.next()).await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk.context(ReadBodySnafu)?),
            Ok(None) => return Ok(bytes),
            Err(_) => return ReadTimeoutSnafu { seconds: options.read_timeout.as_secs() }.fail(),
        }
        if bytes.len() > limit {
            return RequestTooLargeSnafu { limit: limit as u64 }.fail();
        }
    }
}

fn json(bytes: &[u8]) -> Result<Attributes> {
    let mut value = match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(error) => return BadDataSetSnafu { problem: error.to_string() }.fail(),
    };
    if let Value::Array(items) = &mut value
        && items.len() == 1
    {
        value = items.remove(0);
    }
    match value {
        Value::Object(attributes) => Ok(attributes),
        _ => BadDataSetSnafu { problem: "it is neither a JSON object nor an array with one" }.fail(),
    }
}

/// Answers with one data set.
pub fn answer(attributes: &Attributes, offer: &Offer) -> Result<HttpResponse> {
    let json = serde_json::to_vec(attributes).context(WriteJsonSnafu)?;
    let body = match offer.media_type {
        native_model::MEDIA_TYPE => native_model::write(&json).context(WriteXmlSnafu)?,
        _ => json,
    };
    Ok(HttpResponse::Ok().content_type(offer.media_type).body(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_object_is_taken_alone_or_in_an_array() {
        for text in ["{}", "[{}]"] {
            assert!(json(text.as_bytes()).is_ok_and(|attributes| attributes.is_empty()), "{text}");
        }
        for text in ["", "[]", "[{},{}]", "7", "[7]", "{"] {
            assert!(json(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = json(&bytes);
        }
    }
}
