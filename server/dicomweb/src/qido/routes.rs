//! The six search resources of PS3.18 Table 10.6.1-1, and how many each would find. No match is `[]` with 200, as clients
//! expect; in XML, which would have no part then, 204.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.6.1>

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use engram_archive::Level;

use super::description::Count;
use super::service::{self, Found};
use crate::error::Result;
use crate::media::Offer;
use crate::multipart::MultipartWriter;
use crate::place::Place;
use crate::query;
use crate::state::{DicomWeb, attribute_offers, blocking, negotiate};

/// `GET /studies`
pub async fn studies(request: HttpRequest, state: Data<DicomWeb>) -> Result<HttpResponse> {
    search(request, state, Level::Study).await
}

/// `GET /series` and `GET /studies/{study}/series`
pub async fn series(request: HttpRequest, state: Data<DicomWeb>) -> Result<HttpResponse> {
    search(request, state, Level::Series).await
}

/// `GET /instances`, `GET /studies/{study}/instances` and `GET /studies/{study}/series/{series}/instances`
pub async fn instances(request: HttpRequest, state: Data<DicomWeb>) -> Result<HttpResponse> {
    search(request, state, Level::Instance).await
}

/// `GET /studies/count`
pub async fn study_count(request: HttpRequest, state: Data<DicomWeb>) -> Result<HttpResponse> {
    count(request, state, Level::Study).await
}

/// `GET /series/count` and `GET /studies/{study}/series/count`
pub async fn series_count(request: HttpRequest, state: Data<DicomWeb>) -> Result<HttpResponse> {
    count(request, state, Level::Series).await
}

/// `GET /instances/count`, and below a study and a series
pub async fn instance_count(request: HttpRequest, state: Data<DicomWeb>) -> Result<HttpResponse> {
    count(request, state, Level::Instance).await
}

/// `{"count": n}`, as dcm4chee answers: how many a search would find without `limit` and `offset`.
async fn count(request: HttpRequest, state: Data<DicomWeb>, level: Level) -> Result<HttpResponse> {
    let offer = negotiate(&request, &[Offer::single("application/json")])?;
    let place = Place::within(&request)?;
    let pairs = query::pairs(request.query_string())?;
    let search = service::query(level, place, &pairs, state.options.max_search_results)?;
    let count = blocking(move || service::count(&state.archive, &search)).await?;
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, offer.media_type)).json(Count { count }))
}

async fn search(request: HttpRequest, state: Data<DicomWeb>, level: Level) -> Result<HttpResponse> {
    let offer = negotiate(&request, &attribute_offers())?;
    let place = Place::within(&request)?;
    let pairs = query::pairs(request.query_string())?;
    let search = service::query(level, place, &pairs, state.options.max_search_results)?;
    let urls = state.urls(&request);
    let (more, total, body) = blocking(move || {
        let found = service::search(&state.archive, &search, &urls)?;
        Ok((found.more, found.total, Body::of(&found, &offer)?))
    })
    .await?;

    // RFC 2046 has no multipart body without a part.
    let mut response = if body.content.is_empty() { HttpResponse::NoContent() } else { HttpResponse::Ok() };
    response.content_type(body.content_type);
    if let Some(total) = total {
        response.insert_header(("X-Total-Count", total));
    }
    if more {
        // PS3.18 8.3.4.4: the text names no count, which would cost a search to the end.
        let warning = "299 engram \"There are additional results that can be requested\"";
        response.insert_header((header::WARNING, warning));
    }
    Ok(response.body(body.content))
}

/// An answer's body.
struct Body {
    content_type: String,
    /// Empty where there are no matches and so no parts.
    content: Bytes,
}

impl Body {
    fn of(found: &Found, offer: &Offer) -> Result<Self> {
        if !offer.multipart {
            return Ok(Self { content_type: offer.media_type.to_owned(), content: found.json().into() });
        }
        let writer = MultipartWriter::new();
        let documents = found.xml()?;
        let content = match documents.is_empty() {
            true => Bytes::new(),
            false => writer.body(documents.into_iter().map(|document| (offer.media_type, document))),
        };
        Ok(Self { content_type: writer.content_type(offer.media_type), content })
    }
}
