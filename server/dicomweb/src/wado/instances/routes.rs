//! `GET /studies/{study}[/series/{series}[/instances/{instance}]]`

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::service;
use crate::error::Result;
use crate::media::Offer;
use crate::place::Place;
use crate::state::{DicomWeb, blocking, negotiate};
use crate::wado::range::single_part;
use crate::wado::zip::zip;
use crate::wado::{body, object};

const ZIP: &str = "application/zip";

/// Sends the stored bytes through, from disk, as `multipart/related; type="application/dicom"`, or as
/// `application/dicom` where there is one instance; or as `application/zip`, in the transfer syntaxes they are stored in.
///
/// The stored transfer syntax is sent where the client names it, accepts any (`transfer-syntax=*`), or names none;
/// a client that accepts only others gets 406. PS3.18 8.7.3.3 would have an unnamed one mean Explicit VR Little
/// Endian; what is stored then goes out as it is, as the DICOMweb servers in use do.
pub async fn instances(request: HttpRequest, state: Data<DicomWeb>, place: Place) -> Result<HttpResponse> {
    let data = state.clone();
    let entries = blocking(move || object::entries(&data.archive, &place)).await?;
    let mut offers = service::offers(&entries);
    offers.push(Offer::single(ZIP));
    let offer = negotiate(&request, &offers)?;
    if offer.media_type == ZIP {
        return Ok(HttpResponse::Ok().content_type(ZIP).body(zip(entries, state.options.buffer_bytes)));
    }
    let answer = service::retrieve(&entries, &offer);
    if !offer.multipart {
        let (content_type, segments) = (answer.content_type, answer.segments);
        return single_part(&request, &content_type, segments, state.options.buffer_bytes);
    }
    Ok(HttpResponse::Ok()
        .content_type(answer.content_type)
        .body(body::body(answer.segments, state.options.buffer_bytes)))
}
