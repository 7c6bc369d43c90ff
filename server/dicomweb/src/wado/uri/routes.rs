//! `GET /wado?requestType=WADO&…`

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use engram_archive::InstanceEntry;
use engram_imaging::RenderOptions;
use snafu::ResultExt;

use super::parameters::{Parameters, parameters};
use crate::error::{ArchiveSnafu, Error, NotFoundSnafu, Result};
use crate::media::{Accept, Offer};
use crate::query;
use crate::state::{DicomWeb, blocking, not_acceptable};
use crate::wado::answer::Wishes;
use crate::wado::document::{self, Document, Links};
use crate::wado::entity::Known;
use crate::wado::instances::service::{self, DICOM};
use crate::wado::instances::transcoded;
use crate::wado::rendered::parameters::{format, refused, warning};
use crate::wado::rendered::{Form, PICTURES, PictureSource, Presented, answer as send_pictures};
use crate::wado::{object, video};

/// Sends one instance: as a picture, or the object.
pub async fn retrieve(request: HttpRequest, state: Data<DicomWeb>) -> Result<HttpResponse> {
    let asked = parameters(&query::pairs(request.query_string())?)?;
    let (data, wanted) = (state.clone(), asked.clone());
    let (entry, has_pixels, document) = blocking(move || {
        let entry = find(&data, &wanted)?;
        let has_pixels = object::has_pixels(&data.archive, &entry)?;
        let document = Document::of(&data.archive, &entry)?;
        Ok((entry, has_pixels, document))
    })
    .await?;
    let offer = choose(&asked, &entry, has_pixels, document)?;
    if asked.presentation.is_some() && !PICTURES.contains(&offer.media_type) {
        return Err(refused(&format!("`presentationUID` is for pictures, not for {}", offer.media_type)));
    }
    match (offer.media_type, document) {
        (DICOM, _) => send_object(&request, &state, &asked, entry).await,
        (kind, Some(document)) => {
            let wishes = Wishes::only(kind, &request, &state);
            document::send(&state, document, entry, Links::Queries, wishes).await
        }
        (kind, None) if video::MEDIA_TYPES.contains(&kind) => send_video(&request, state, entry, kind).await,
        (kind, None) => send_picture(&request, state, asked, entry, kind).await,
    }
}

/// The instance, which must lie where the study and series say, as far as they are given.
fn find(state: &DicomWeb, asked: &Parameters) -> Result<InstanceEntry> {
    find_within(state, &asked.object, asked.study.as_deref(), asked.series.as_deref())
}

fn find_within(
    state: &DicomWeb,
    uid: &str,
    study: Option<&str>,
    series: Option<&str>,
) -> Result<InstanceEntry> {
    let entry = state.archive.find_instance(uid).context(ArchiveSnafu)?;
    let lies_there = |entry: &InstanceEntry| {
        study.is_none_or(|study| study == entry.uids.study_instance_uid)
            && series.is_none_or(|series| series == entry.uids.series_instance_uid)
    };
    match entry.filter(lies_there) {
        Some(entry) => Ok(entry),
        None => NotFoundSnafu { what: format!("instance {uid}") }.fail(),
    }
}

/// The presentation state, and which of the frames that it shows are the wanted ones of an image.
fn presented(
    state: &DicomWeb,
    uid: &str,
    series: Option<&str>,
    image: &InstanceEntry,
    frames: &[usize],
) -> Result<(InstanceEntry, Vec<usize>)> {
    let entry = find_within(state, uid, None, series)?;
    let presented = Presented::of(state, object::open(&entry, &state.options)?)?;
    let number = |frame: &usize| presented.number_of(&image.uids.sop_instance_uid, *frame);
    match frames.iter().map(number).collect() {
        Some(numbers) => Ok((entry, numbers)),
        None => Err(refused("the presentation state is not for that image, or not for that frame of it")),
    }
}

/// The form that `contentType` prefers; without it JPEG for one frame, and the object itself for several frames or
/// none (PS3.18 9.1.2.2.1). A video is itself, or the object, which comes first; a document what
/// [`Document::media_types`] names first.
fn choose(
    asked: &Parameters,
    entry: &InstanceEntry,
    has_pixels: bool,
    document: Option<Document>,
) -> Result<Offer> {
    let is_picture = has_pixels && (entry.frames <= 1 || asked.frame.is_some());
    let object = Offer::single(DICOM).in_syntax(entry.transfer_syntax_uid.as_str());
    let mut offers = match (document, video::media_type(&entry.transfer_syntax_uid)) {
        (Some(document), _) => document.media_types(&Links::Queries).into_iter().map(Offer::single).collect(),
        (None, Some(video)) if asked.frame.is_none() => vec![Offer::single(video)],
        _ => PICTURES.map(Offer::single).to_vec(),
    };
    match is_picture || document.is_some() {
        true => offers.push(object),
        false => offers.insert(0, object),
    }
    let content_type = asked.content_type.as_deref().unwrap_or("*/*");
    let offer = Accept::parse(content_type).choose(&offers).cloned();
    offer.ok_or_else(|| not_acceptable(content_type.to_owned(), &offers))
}

/// Sends the object in the transfer syntax that `transferSyntax` names; without it in Explicit VR Little Endian (PS3.18
/// 9.1.2.2.2), or where that cannot be made as it is stored, which is what `*` asks for.
async fn send_object(
    request: &HttpRequest,
    state: &DicomWeb,
    asked: &Parameters,
    entry: InstanceEntry,
) -> Result<HttpResponse> {
    if asked.frame.is_some() {
        return Err(refused("`frameNumber` is for pictures, not for application/dicom"));
    }
    let entries = [entry];
    let mut offers = service::offers(&entries, &state.options);
    offers.retain(|offer| !offer.multipart);
    let accepted = match &asked.transfer_syntax {
        Some(syntax) => format!("{DICOM}; transfer-syntax={syntax}"),
        None => DICOM.to_owned(),
    };
    let wishes = Wishes::only(&accepted, request, state);
    let offer = wishes.choose(&offers)?;
    match service::target(&offer) {
        Some(target) => transcoded::send(state, entries.into(), target, &offer, &wishes).await,
        None => Ok(service::stored(state, &wishes, &offer, &entries)?.into_response()),
    }
}

async fn send_video(
    request: &HttpRequest,
    state: Data<DicomWeb>,
    entry: InstanceEntry,
    media_type: &'static str,
) -> Result<HttpResponse> {
    let wishes = Wishes::only(media_type, request, &state);
    let find = move || video::rendered(&state, &entry, media_type, &wishes);
    Ok(blocking(find).await?.into_response())
}

async fn send_picture(
    request: &HttpRequest,
    state: Data<DicomWeb>,
    asked: Parameters,
    entry: InstanceEntry,
    media_type: &'static str,
) -> Result<HttpResponse> {
    let limit = state.options.max_frames;
    let animated = media_type == "image/gif" && asked.frame.is_none();
    let count = entry.frames.max(1) as usize;
    if animated && count > limit {
        return Err(Error::TooManyPictures { count, limit });
    }
    let options = RenderOptions {
        format: format(media_type, asked.quality),
        window: asked.window,
        viewport: asked.viewport,
        region: asked.region,
        mirrored: [false; 2],
        colours: asked.colours,
    };
    let frames = if animated { (1..=count).collect() } else { vec![asked.frame.unwrap_or(1)] };
    let (entry, frames) = match asked.presentation {
        Some(uid) => {
            let (state, series) = (state.clone(), asked.presentation_series);
            let find = move || presented(&state, &uid, series.as_deref(), &entry, &frames);
            blocking(find).await?
        }
        None => (entry, frames),
    };
    let (entries, frames) = (vec![entry], Some(frames));
    let source = PictureSource { entries, may_lack: false, frames, options, animated };
    let warning = asked.annotation.as_deref().map(warning);
    let known = Known::of(request);
    send_pictures(state.as_ref().clone(), source, Form::Single, media_type, warning, &known).await
}
