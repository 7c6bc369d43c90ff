//! `GET /studies/{study}[/series/{series}[/instances/{instance}]]`

use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use engram_archive::InstanceEntry;
use engram_imaging::{Error as Imaging, TargetSyntax};

use super::service::{self, ZIP};
use super::transcoded;
use crate::error::{Error, Result};
use crate::media::Offer;
use crate::place::Place;
use crate::state::{DicomWeb, blocking};
use crate::wado::answer::{Answer, Wishes};
use crate::wado::object;
use crate::wado::zip::zip;

/// Sends instances as `multipart/related; type="application/dicom"`, or as `application/dicom` where there is one; or as
/// `application/zip`, in the transfer syntaxes they are stored in.
///
/// Where the client names the stored transfer syntax, or accepts any (`transfer-syntax=*`), the stored bytes go through, from disk.
/// One that is not named means Explicit VR Little Endian (PS3.18 8.7.3.3). What is not stored in the one that is wanted is transcoded.
pub async fn instances(request: HttpRequest, state: Data<DicomWeb>, place: Place) -> Result<HttpResponse> {
    let (data, wishes) = (state.clone(), Wishes::of(&request, &state)?);
    let file_name = place.last().to_owned();
    let find = move || Found::at(&data, &place, wishes)?.decide(&data);
    let mut decision = blocking(find).await?;
    loop {
        let (found, offer, target) = match decision {
            Decision::Send(answer, offer) => return Ok(named(answer.into_response(), &offer, &file_name)),
            Decision::Zip(entries, offer) => {
                let zip = zip(entries, state.options.buffer_bytes);
                return Ok(named(HttpResponse::Ok().content_type(ZIP).body(zip), &offer, &file_name));
            }
            Decision::Transcode(found, offer, target) => (found, offer, target),
        };
        let (entries, wishes) = (found.entries.clone(), &found.wishes);
        match transcoded::send(&state, entries, target, &offer, wishes).await {
            Ok(answer) => return Ok(named(answer, &offer, &file_name)),
            // What the one instance cannot be sent as is no offer: perhaps the client accepts another.
            Err(Error::Transcode { source: Imaging::CannotHold { .. }, .. }) => {
                let (data, rest) = (state.clone(), found.without(&offer));
                decision = blocking(move || rest.decide(&data)).await?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Says what a browser is to call the file that it saves.
fn named(mut answer: HttpResponse, offer: &Offer, name: &str) -> HttpResponse {
    if !offer.multipart && answer.status().is_success() {
        let extension = if offer.media_type == ZIP { "zip" } else { "dcm" };
        // The name is a UID.
        if let Ok(value) = HeaderValue::try_from(format!("attachment; filename=\"{name}.{extension}\"")) {
            answer.headers_mut().insert(header::CONTENT_DISPOSITION, value);
        }
    }
    answer
}

/// Instances, what they can be sent as, and what the client would have.
struct Found {
    wishes: Wishes,
    entries: Vec<InstanceEntry>,
    offers: Vec<Offer>,
}

/// How the instances are sent.
enum Decision {
    /// As they are stored.
    Send(Answer, Offer),
    /// In one file, as they are stored.
    Zip(Vec<InstanceEntry>, Offer),
    /// In this transfer syntax.
    Transcode(Found, Offer, TargetSyntax),
}

impl Found {
    fn at(state: &DicomWeb, place: &Place, wishes: Wishes) -> Result<Self> {
        let entries = object::entries(&state.archive, place)?;
        let mut offers = service::offers(&entries, &state.options);
        offers.push(service::zipped(&entries));
        Ok(Self { wishes, entries, offers })
    }

    fn without(mut self, offer: &Offer) -> Self {
        self.offers.retain(|other| other.transfer_syntax != offer.transfer_syntax);
        self
    }

    /// Reads the beginning of what is sent as it is stored.
    fn decide(self, state: &DicomWeb) -> Result<Decision> {
        let offer = self.wishes.choose(&self.offers)?;
        if offer.media_type == ZIP {
            return Ok(Decision::Zip(self.entries, offer));
        }
        if let Some(target) = service::target(&offer) {
            return Ok(Decision::Transcode(self, offer, target));
        }
        let answer = service::stored(state, &self.wishes, &offer, &self.entries)?.begun()?;
        Ok(Decision::Send(answer, offer))
    }
}
