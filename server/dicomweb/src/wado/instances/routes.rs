//! `GET /studies/{study}[/series/{series}[/instances/{instance}]]`

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
/// Where the client names the stored transfer syntax, accepts any (`transfer-syntax=*`), or names none, the stored
/// bytes go through, from disk. PS3.18 8.7.3.3 would have an unnamed one mean Explicit VR Little Endian; what is
/// stored then goes out as it is, as the DICOMweb servers in use do. Where it names another that can be written, what
/// is not stored in it is transcoded.
pub async fn instances(request: HttpRequest, state: Data<DicomWeb>, place: Place) -> Result<HttpResponse> {
    let (data, wishes) = (state.clone(), Wishes::of(&request)?);
    let find = move || Found::at(&data, &place, wishes)?.decide(&data);
    let mut decision = blocking(find).await?;
    loop {
        let (found, offer, target) = match decision {
            Decision::Send(answer) => return Ok(answer.into_response()),
            Decision::Zip(entries) => {
                let zip = zip(entries, state.options.buffer_bytes);
                return Ok(HttpResponse::Ok().content_type(ZIP).body(zip));
            }
            Decision::Transcode(found, offer, target) => (found, offer, target),
        };
        match transcoded::send(&request, &state, found.entries.clone(), target, &offer).await {
            // What the one instance cannot be sent as is no offer: perhaps the client accepts another.
            Err(Error::Transcode { source: Imaging::CannotHold { .. }, .. }) => {
                let (data, rest) = (state.clone(), found.without(&offer));
                decision = blocking(move || rest.decide(&data)).await?;
            }
            answer => return answer,
        }
    }
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
    Send(Answer),
    /// In one file, as they are stored.
    Zip(Vec<InstanceEntry>),
    /// In this transfer syntax.
    Transcode(Found, Offer, TargetSyntax),
}

impl Found {
    fn at(state: &DicomWeb, place: &Place, wishes: Wishes) -> Result<Self> {
        let entries = object::entries(&state.archive, place)?;
        let mut offers = service::offers(&entries);
        offers.push(Offer::single(ZIP));
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
            return Ok(Decision::Zip(self.entries));
        }
        let target = offer.transfer_syntax.as_deref().and_then(TargetSyntax::of_uid);
        if let Some(target) = target.filter(|_| offer.transcoded) {
            return Ok(Decision::Transcode(self, offer, target));
        }
        let answer = Answer::new(state, &self.wishes, &offer, service::stored(&self.entries))?;
        answer.begun().map(Decision::Send)
    }
}
