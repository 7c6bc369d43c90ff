//! `DELETE /studies/{study}[/series/{series}[/instances/{instance}]]`

use actix_web::HttpResponse;
use actix_web::web::Data;

use super::service;
use crate::error::Result;
use crate::place::Place;
use crate::state::{DicomWeb, blocking};

/// 204 when it is durably gone, 404 where there was nothing.
pub async fn delete(state: Data<DicomWeb>, place: Place) -> Result<HttpResponse> {
    blocking(move || service::delete(&state, &place)).await?;
    Ok(HttpResponse::NoContent().finish())
}
