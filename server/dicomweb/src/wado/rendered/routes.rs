//! `GET /studies/{study}[/series/{series}[/instances/{instance}[/frames/{list}]]]/rendered`

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use engram_archive::InstanceEntry;

use super::parameters::asked;
use super::presented;
use super::{Form, PICTURES, PictureSource, answer};
use crate::error::{Result, TooManyPicturesSnafu};
use crate::media::Offer;
use crate::place::Place;
use crate::query;
use crate::state::{DicomWeb, blocking};
use crate::wado::answer::{Answer, Wishes};
use crate::wado::document::{self, Document, Links};
use crate::wado::frames::frame_list;
use crate::wado::{object, video};

/// What is shown.
enum Found {
    /// A stream, as it is stored.
    Video(Answer),
    /// A report, or a file in an object.
    Document(Document, Box<InstanceEntry>, Wishes),
    /// Frames of instances, in a form that is still to be chosen.
    Pictures(Vec<InstanceEntry>, Wishes),
}

/// What a rendered resource holds.
enum Resource {
    /// One picture.
    Picture,
    /// An instance of several frames.
    MultiFrame,
    /// A list of several frames.
    FrameList,
    /// A study or a series.
    Instances,
}

/// Sends pictures (PS3.18 Table 8.7.4-1): JPEG unless the client asks for PNG, JPEG 2000 or GIF.
///
/// One picture is the body, or a part where the client wants parts. Several are parts, one for each frame; so are those
/// of a study, a series or a list of frames for a client that accepts `image/jpeg`, `image/png` or `image/jp2` alone, since there
/// is no other form for them. An instance of several frames has one, its first frame, which a client that says nothing
/// gets too; and as `image/gif`, which moves, it is one picture, as is a list of frames. A video is sent as it is stored, a
/// document as [`document`] makes it.
pub async fn rendered(request: HttpRequest, state: Data<DicomWeb>, place: Place) -> Result<HttpResponse> {
    let list = match request.match_info().get("frames") {
        Some(list) => Some(frame_list(list, state.options.max_frames)?),
        None => None,
    };
    let is_instance = place.instance.is_some();
    let wants_all = is_instance && list.is_none();
    let (data, wishes) = (state.clone(), Wishes::of(&request, &state)?);
    let (entries, wishes) = match blocking(move || find(&data, &place, wants_all, wishes)).await? {
        Found::Video(answer) => return Ok(answer.into_response()),
        Found::Document(document, entry, wishes) => {
            let links = Links::Resources(state.urls(&request));
            return document::send(&state, document, *entry, links, wishes).await;
        }
        Found::Pictures(entries, wishes) => (entries, wishes),
    };
    let count = list.as_ref().map_or_else(|| pictures(&entries), Vec::len);
    let resource = match (&list, count) {
        _ if !is_instance => Resource::Instances,
        (_, 1) => Resource::Picture,
        (Some(_), _) => Resource::FrameList,
        (None, _) => Resource::MultiFrame,
    };
    let offer = wishes.choose(&resource.offers())?;
    let asked = asked(&query::pairs(request.query_string())?, offer.media_type)?;

    let is_gif = offer.media_type == "image/gif";
    let (in_parts, frames, animated) = match resource {
        Resource::Picture => (offer.multipart, list, false),
        Resource::MultiFrame if offer.multipart || is_gif => (offer.multipart, None, is_gif),
        Resource::MultiFrame => (false, Some(vec![1]), false),
        Resource::FrameList => (offer.multipart || !is_gif, list, !offer.multipart && is_gif),
        Resource::Instances => (true, None, is_gif),
    };
    let (count, limit) = (frames.as_ref().map_or(count, Vec::len), state.options.max_frames);
    if count > limit {
        return TooManyPicturesSnafu { count, limit }.fail();
    }
    let form = if in_parts { Form::Parts(state.urls(&request)) } else { Form::Single };
    let warning = asked.warning();
    let source = PictureSource { entries, may_lack: !is_instance, frames, options: asked.options, animated };
    answer(state.as_ref().clone(), source, form, offer.media_type, warning, &wishes.known).await
}

/// What there is at a place. `wants_all`: of one instance, and not some of its frames.
fn find(state: &DicomWeb, place: &Place, wants_all: bool, wishes: Wishes) -> Result<Found> {
    let mut entries = object::entries(&state.archive, place)?;
    if let Some(entry) = entries.first_mut().filter(|_| wants_all) {
        entry.frames = presented::frames(state, entry)?;
        if let Some(kind) = video::media_type(&entry.transfer_syntax_uid) {
            return video::rendered(state, entry, kind, &wishes).map(Found::Video);
        }
        if let Some(document) = Document::of(&state.archive, entry)? {
            return Ok(Found::Document(document, Box::new(entry.clone()), wishes));
        }
    }
    Ok(Found::Pictures(entries, wishes))
}

fn pictures(entries: &[InstanceEntry]) -> usize {
    entries.iter().map(|entry| entry.frames.max(1) as usize).fold(0, usize::saturating_add)
}

impl Resource {
    /// What it can be sent as, what the client gets by default first.
    fn offers(&self) -> Vec<Offer> {
        let forms: [fn(&'static str) -> Offer; 2] = match self {
            Self::Picture | Self::MultiFrame => [Offer::single, Offer::multipart],
            Self::FrameList | Self::Instances => [Offer::multipart, Offer::single],
        };
        forms.into_iter().flat_map(|form| PICTURES.map(form)).collect()
    }
}
