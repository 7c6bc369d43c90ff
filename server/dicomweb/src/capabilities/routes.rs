//! `OPTIONS /` and `GET /`, of the services' root.

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use snafu::ResultExt;
use utoipa::openapi::Server;

use super::description::{Conformance, Links, Service, offers};
use super::wadl;
use crate::error::{Result, WriteXmlSnafu};
use crate::media::Offer;
use crate::openapi::openapi;
use crate::routes::root;
use crate::state::{DicomWeb, negotiate};

/// The standard that is followed.
const STANDARD: &str = "DICOM PS3.18";

/// Sends the capabilities.
pub async fn retrieve(request: HttpRequest, state: Data<DicomWeb>) -> Result<HttpResponse> {
    let offer = negotiate(&request, &offers())?;
    let urls = state.urls(&request);
    let mut document = openapi();
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::ALLOW, root().allow()))
        .insert_header((header::CONTENT_TYPE, offer.media_type));
    if offer.is_json() {
        document.servers = Some(vec![Server::new(urls.base())]);
        return Ok(response.json(document));
    }
    Ok(response.body(wadl::write(&document, urls.base()).context(WriteXmlSnafu)?))
}

/// Sends what there is to know at a glance.
pub async fn conformance(request: HttpRequest, state: Data<DicomWeb>) -> Result<HttpResponse> {
    negotiate(&request, &[Offer::single("application/json")])?;
    let urls = state.urls(&request);
    Ok(HttpResponse::Ok().json(Conformance {
        name: "Engram",
        version: env!("CARGO_PKG_VERSION"),
        standard: STANDARD,
        services: Service::all(&openapi().paths),
        links: Links {
            capabilities: format!("{}/", urls.base()),
            openapi: state.options.openapi_url.clone(),
        },
    }))
}
