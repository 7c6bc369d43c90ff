//! `POST /studies` and `POST /studies/{study}`.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.5.1>

use actix_web::dev::Decompress;
use actix_web::http::header::{self, ContentEncoding, HeaderName};
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::StreamExt;
use snafu::ResultExt;

use super::metadata::{BulkData, Gathering};
use super::response;
use super::service::{Form, Reception, Representation};
use crate::error::{
    BadQuerySnafu, ReadBodySnafu, ReadTimeoutSnafu, RequestTooLargeSnafu, Result, UnsupportedMediaTypeSnafu,
    WriteXmlSnafu,
};
use crate::native_model;
use crate::observer::StowOptions;
use crate::options::DicomWebOptions;
use crate::place::Place;
use crate::query;
use crate::state::{DicomWeb, blocking, data_set_offers, negotiate};

/// Longest name of a collection, in bytes.
pub const MAX_COLLECTION_NAME: usize = 128;

/// Stores the instances of a request, of any study or of the path's.
///
/// The body is read as it comes: each part goes to a temporary file of the archive and is handed to the
/// archive's committer when it is complete, while the next is still arriving. What was complete is stored
/// whatever happens to the rest; the answer says which. Instances that come as metadata and bulk data are put together
/// when the body has ended.
pub async fn store(request: HttpRequest, state: Data<DicomWeb>, body: Payload) -> Result<HttpResponse> {
    let offer = negotiate(&request, &data_set_offers())?;
    let place = Place::within(&request)?;
    let options = stow_options(&request)?;
    let study = place.map(|place| place.study);
    let urls = state.urls(&request);
    let body = decompressed(&request, body)?;
    let (form, encoding) = Form::of(header_of(&request, header::CONTENT_TYPE), &state.options)?;
    refuse_announced_excess(&request, &state.options)?;

    let representation = encoding.map_or(Representation::Objects, |encoding| {
        let (archive, limits) = (state.archive.clone(), &state.options);
        let base = urls.store(study.as_deref());
        let bulk_data = BulkData::new(archive.clone(), limits.max_request_bytes, &base);
        let gathering = Gathering::new(archive, encoding, limits.max_metadata_bytes, bulk_data);
        Representation::Metadata(Box::new(gathering))
    });
    let reception = Reception::new(state.get_ref().clone(), form, representation, study, options);
    let report = receive(reception, body, &state.options).await?;
    let (status, dataset) = response::answer(report, &urls)?;
    let json = dataset.to_string();
    let body = match offer.media_type {
        native_model::MEDIA_TYPE => native_model::write(json.as_bytes()).context(WriteXmlSnafu)?,
        _ => json.into_bytes(),
    };
    Ok(HttpResponse::build(status).content_type(offer.media_type).body(body))
}

/// Pumps the body into the reception, a buffer at a time: nothing blocks here, and no thread waits for the network.
async fn receive(
    mut reception: Reception,
    mut body: Decompress<Payload>,
    options: &DicomWebOptions,
) -> Result<super::service::StoreReport> {
    let mut received = 0u64;
    loop {
        let (chunks, ended) = gather(&mut body, options).await?;
        received = chunks.iter().fold(received, |sum, chunk| sum.saturating_add(chunk.len() as u64));
        if received > options.max_request_bytes {
            return RequestTooLargeSnafu { limit: options.max_request_bytes }.fail();
        }
        if ended {
            return blocking(move || {
                reception.write_all(chunks);
                Ok(reception.finish())
            })
            .await;
        }
        reception = blocking(move || {
            reception.write_all(chunks);
            Ok(reception)
        })
        .await?;
    }
}

/// Waits for a buffer's worth of the body, or its end (then `true`).
async fn gather(body: &mut Decompress<Payload>, options: &DicomWebOptions) -> Result<(Vec<Bytes>, bool)> {
    let (mut chunks, mut length) = (Vec::new(), 0);
    while length < options.buffer_bytes {
        let next = tokio::time::timeout(options.read_timeout, body.next()).await;
        match next {
            Ok(Some(chunk)) => {
                let chunk = chunk.context(ReadBodySnafu)?;
                length += chunk.len();
                chunks.push(chunk);
            }
            Ok(None) => return Ok((chunks, true)),
            Err(_) => return ReadTimeoutSnafu { seconds: options.read_timeout.as_secs() }.fail(),
        }
    }
    Ok((chunks, false))
}

/// The body without its `Content-Encoding`. The limits are those of what comes out.
fn decompressed(request: &HttpRequest, body: Payload) -> Result<Decompress<Payload>> {
    let encoding = header_of(request, header::CONTENT_ENCODING).trim().to_ascii_lowercase();
    let coding = match encoding.as_str() {
        "" | "identity" => ContentEncoding::Identity,
        "gzip" => ContentEncoding::Gzip,
        "deflate" => ContentEncoding::Deflate,
        "zstd" => ContentEncoding::Zstd,
        _ => {
            let found = format!("Content-Encoding: {encoding:.80}");
            return UnsupportedMediaTypeSnafu { found }.fail();
        }
    };
    Ok(Decompress::new(body, coding))
}

fn header_of(request: &HttpRequest, name: HeaderName) -> &str {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// `?collection=` and `?partial=`; other parameters are not this transaction's and pass.
fn stow_options(request: &HttpRequest) -> Result<StowOptions> {
    let pairs = query::pairs(request.query_string())?;
    let partial = match query::value_of(&pairs, "partial") {
        Some(value) => query::flag("partial", value)?,
        None => false,
    };
    let collection = query::value_of(&pairs, "collection").map(str::to_owned);
    if let Some(name) = &collection {
        let speaks = !name.trim().is_empty() && !name.chars().any(char::is_control);
        if !speaks || name.len() > MAX_COLLECTION_NAME {
            let message = format!("`collection` must have 1 to {MAX_COLLECTION_NAME} printable characters");
            return BadQuerySnafu { message }.fail();
        }
    }
    Ok(StowOptions { collection, partial })
}

fn refuse_announced_excess(request: &HttpRequest, options: &DicomWebOptions) -> Result<()> {
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let length = announced.and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<u64>().ok());
    match length.is_some_and(|length| length > options.max_request_bytes) {
        true => RequestTooLargeSnafu { limit: options.max_request_bytes }.fail(),
        false => Ok(()),
    }
}
