//! `GET /studies/{study}[/series/{series}[/instances/{instance}]]`

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use engram_imaging::{Error as Imaging, TargetSyntax};

use super::service::{self, ZIP};
use super::transcoded;
use crate::error::{Error, Result};
use crate::media::Offer;
use crate::place::Place;
use crate::state::{DicomWeb, blocking, negotiate};
use crate::wado::answer;
use crate::wado::object;
use crate::wado::zip::zip;

/// Sends instances as `multipart/related; type="application/dicom"`, or as `application/dicom` where there is one; or as
/// `application/zip`, in the transfer syntaxes they are stored in.
///
/// Where the client names the stored transfer syntax, accepts any (`transfer-syntax=*`), or names none, the stored
/// bytes go through, from disk. PS3.18 8.7.3.3 would have an unnamed one mean Explicit VR Little Endian; what is
/// stored then goes out as it is, as the DICOMweb servers in use do. Where it names another that can be written, what
/// is not stored in it is transcoded.
pub async fn instances(request: HttpRequest, state: Data<DicomWeb>, place: Place) -> Result<HttpResponse> {
    let data = state.clone();
    let entries = blocking(move || object::entries(&data.archive, &place)).await?;
    let mut offers = service::offers(&entries);
    offers.push(Offer::single(ZIP));
    loop {
        let offer = negotiate(&request, &offers)?;
        if offer.media_type == ZIP {
            return Ok(HttpResponse::Ok().content_type(ZIP).body(zip(entries, state.options.buffer_bytes)));
        }
        let target = offer.transfer_syntax.as_deref().and_then(TargetSyntax::of_uid);
        let Some(target) = target.filter(|_| offer.transcoded) else {
            return answer::send(&request, &offer, service::stored(&entries), state.options.buffer_bytes);
        };
        match transcoded::send(&request, &state, entries.clone(), target, &offer).await {
            // What the one instance cannot be sent as is no offer: perhaps the client accepts another.
            Err(Error::Transcode { source: Imaging::CannotHold { .. }, .. }) => {
                offers.retain(|other| other.transfer_syntax != offer.transfer_syntax);
            }
            answer => return answer,
        }
    }
}
