//! The six search resources of PS3.18 Table 10.6.1-1. No match is `[]` with 200, as clients expect.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.6.1>

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use engram_archive::Level;

use super::service;
use crate::error::Result;
use crate::place::Place;
use crate::query;
use crate::state::{DicomWeb, blocking, json_offers, negotiate};

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

async fn search(request: HttpRequest, state: Data<DicomWeb>, level: Level) -> Result<HttpResponse> {
    let offer = negotiate(&request, &json_offers())?;
    let place = Place::within(&request)?;
    let pairs = query::pairs(request.query_string())?;
    let search = service::query(level, place, &pairs, state.options.max_search_results)?;
    let urls = state.urls(&request);
    let found = blocking(move || service::search(&state.archive, &search, &urls)).await?;

    let mut response = HttpResponse::Ok();
    response.content_type(offer.media_type);
    if found.more {
        // PS3.18 8.3.4.4: the text names no count, which would cost a search to the end.
        let warning = "299 engram \"There are additional results that can be requested\"";
        response.insert_header((header::WARNING, warning));
    }
    Ok(response.body(found.json))
}
