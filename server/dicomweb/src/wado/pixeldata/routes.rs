//! `GET /studies/{study}[/series/{series}[/instances/{instance}]]/pixeldata`

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::service::Parts;
use crate::error::Result;
use crate::place::Place;
use crate::state::{DicomWeb, blocking, negotiate};
use crate::wado::bulkdata::routes::send_value;
use crate::wado::{PIXEL_DATA, object, producer};

/// Sends PixelData: of an instance as bulk data is sent; of a series or a study uncompressed, a part for each instance
/// that has any, or where it is stored compressed a part for each frame.
pub async fn pixeldata(request: HttpRequest, state: Data<DicomWeb>, place: Place) -> Result<HttpResponse> {
    if place.instance.is_some() {
        return send_value(&request, state, place, PIXEL_DATA.to_owned()).await;
    }
    let offer = negotiate(&request, &[Parts::offer()])?;
    let data = state.clone();
    let entries = blocking(move || object::entries(&data.archive, &place)).await?;
    let writer = state.multipart();
    let mut response = HttpResponse::Ok();
    response.content_type(writer.content_type(offer.media_type));
    let parts = Parts::new(state.as_ref().clone(), entries, writer, state.urls(&request));
    producer::stream(state.as_ref().clone(), response, parts).await
}
