//! `GET …/instances/{instance}/rendered` and `GET …/instances/{instance}/frames/{frame}/rendered`

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use engram_imaging::render;
use snafu::ResultExt;

use super::parameters::render_options;
use crate::error::{PixelsSnafu, Result};
use crate::media::Offer;
use crate::place::Place;
use crate::query;
use crate::state::{DicomWeb, blocking, negotiate};
use crate::wado::frames::frame_list;
use crate::wado::object;

/// One picture, JPEG unless the client asks for PNG (PS3.18 Table 8.7.4-1): of the frame, or of the instance's first.
pub async fn rendered(request: HttpRequest, state: Data<DicomWeb>, place: Place) -> Result<HttpResponse> {
    let offer = negotiate(&request, &[Offer::single("image/jpeg"), Offer::single("image/png")])?;
    let options = render_options(&query::pairs(request.query_string())?, offer.media_type)?;
    let frame = match request.match_info().get("frames") {
        Some(list) => frame_list(list, 1)?.first().copied().unwrap_or(1),
        None => 1,
    };
    let picture = blocking(move || {
        let entry = object::entry(&state.archive, &place)?;
        let object = object::open(&entry, &state.options)?;
        render(&object, frame, &options, state.options.decoding()).context(PixelsSnafu)
    })
    .await?;
    Ok(HttpResponse::Ok().content_type(picture.media_type).body(picture.bytes))
}
