//! `GET /studies/{study}[/series/{series}[/instances/{instance}]]`

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use engram_archive::InstanceEntry;
use engram_imaging::{Error as Imaging, TargetSyntax};

use super::{service, transcoded};
use crate::error::{Error, Result};
use crate::media::Offer;
use crate::place::Place;
use crate::state::{DicomWeb, blocking, negotiate};
use crate::wado::{body, object};

/// Sends instances as `multipart/related; type="application/dicom"`, or as `application/dicom` where there is one.
///
/// Where the client names the stored transfer syntax, accepts any (`transfer-syntax=*`), or names none, the stored
/// bytes go through, from disk. PS3.18 8.7.3.3 would have an unnamed one mean Explicit VR Little Endian; what is
/// stored then goes out as it is, as the DICOMweb servers in use do. Where it names another that can be written, what
/// is not stored in it is transcoded.
pub async fn instances(request: HttpRequest, state: Data<DicomWeb>, place: Place) -> Result<HttpResponse> {
    let data = state.clone();
    let entries = blocking(move || object::entries(&data.archive, &place)).await?;
    let mut offers = service::offers(&entries);
    loop {
        let offer = negotiate(&request, &offers)?;
        let target = offer.transfer_syntax.as_deref().and_then(TargetSyntax::of_uid);
        let Some(target) = target.filter(|_| offer.transcoded) else {
            return Ok(stored(&state, &entries, &offer));
        };
        match transcoded::answer(&state, entries.clone(), target, offer.multipart).await {
            // What the one instance cannot be sent as is no offer: perhaps the client accepts another.
            Err(Error::Transcode { source: Imaging::CannotHold { .. }, .. }) => {
                offers.retain(|other| other.transfer_syntax != offer.transfer_syntax);
            }
            answer => return answer,
        }
    }
}

/// The stored bytes.
fn stored(state: &DicomWeb, entries: &[InstanceEntry], offer: &Offer) -> HttpResponse {
    let answer = service::retrieve(entries, offer);
    HttpResponse::Ok()
        .content_type(answer.content_type)
        .body(body::body(answer.segments, state.options.buffer_bytes))
}
