//! `GET /studies/{study}[/series/{series}[/instances/{instance}[/frames/{frame}]]]/thumbnail`

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::service;
use crate::error::Result;
use crate::media::Offer;
use crate::place::Place;
use crate::query;
use crate::state::{DicomWeb, blocking, negotiate};
use crate::wado::entity::Known;
use crate::wado::frames::frame_list;
use crate::wado::rendered::parameters::asked;
use crate::wado::rendered::{Form, PICTURES, PictureSource, answer};

/// Width and height that a thumbnail fits into, in pixels, where the client gives no `viewport`.
const DEFAULT_VIEWPORT: (u32, u32) = (128, 128);

/// Sends one picture: JPEG unless the client asks for PNG, JPEG 2000 or GIF.
pub async fn thumbnail(request: HttpRequest, state: Data<DicomWeb>, place: Place) -> Result<HttpResponse> {
    let offer = negotiate(&request, &PICTURES.map(Offer::single))?;
    let mut asked = asked(&query::pairs(request.query_string())?, offer.media_type)?;
    asked.options.viewport.get_or_insert(DEFAULT_VIEWPORT);
    let frame = match request.match_info().get("frames") {
        Some(list) => frame_list(list, 1)?.first().copied(),
        None => None,
    };
    let data = state.clone();
    let most = state.options.max_frames;
    let shown = blocking(move || service::representative(&data.archive, &place, most)).await?;
    let source = PictureSource {
        frames: Some(vec![frame.unwrap_or(shown.frame)]),
        entries: vec![shown.entry],
        may_lack: false,
        options: asked.options.clone(),
        animated: false,
    };
    let (state, known) = (state.as_ref().clone(), Known::of(&request));
    answer(state, source, Form::Single, offer.media_type, asked.warning(), &known).await
}
