//! `GET /studies/{study}[/series/{series}[/instances/{instance}]]/pixeldata`

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use crate::error::Result;
use crate::place::Place;
use crate::state::DicomWeb;
use crate::wado::PIXEL_DATA;
use crate::wado::bulkdata::parts::Wanted;
use crate::wado::bulkdata::routes::{send_all, send_value};

/// Sends PixelData: of an instance as bulk data is sent; of a series or a study uncompressed, a part for each instance
/// that has any, or where it is stored compressed a part for each frame.
pub async fn pixeldata(request: HttpRequest, state: Data<DicomWeb>, place: Place) -> Result<HttpResponse> {
    if place.instance.is_some() {
        return send_value(&request, state, place, PIXEL_DATA.to_owned()).await;
    }
    send_all(&request, state, place, Wanted::PixelData).await
}
