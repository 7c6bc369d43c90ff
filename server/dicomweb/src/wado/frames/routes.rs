//! `GET /studies/{study}/series/{series}/instances/{instance}/frames/{list}`

use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use engram_archive::InstanceEntry;
use futures_util::{Stream, StreamExt, stream};

use super::{FrameSet, frame_list};
use crate::error::{NotFoundSnafu, Result};
use crate::media::Offer;
use crate::multipart::MultipartWriter;
use crate::place::Place;
use crate::state::{DicomWeb, blocking};
use crate::wado::answer::{Answer, Part, Wishes};
use crate::wado::body::Segment;
use crate::wado::entity::{EntityTag, tagged};
use crate::wado::object;

/// Sends frames, in the order of the list: uncompressed as `application/octet-stream`, in the compression they are
/// stored in, or in another that the client names; each frame a part, or the body itself where one is asked for and the
/// client accepts it so.
pub async fn frames(request: HttpRequest, state: Data<DicomWeb>, place: Place) -> Result<HttpResponse> {
    let list = request.match_info().get("frames").unwrap_or_default();
    let list = frame_list(list, state.options.max_frames)?;
    let Some(first) = list.first().copied() else { return NotFoundSnafu { what: "frame" }.fail() };
    let (data, wishes) = (state.clone(), Wishes::of(&request, &state)?);
    let find = move || Found::at(&data, &place, list, wishes);
    let frames = match blocking(find).await? {
        Found::Native(frames) => frames,
        Found::Object { entry, list, wishes } => {
            let data = state.clone();
            let read = move || {
                let set = FrameSet::read_whole(&entry, first, &data.options)?;
                Frames::wanted(&data, set, list, wishes)
            };
            state.decoding(read).await?
        }
    };
    frames.send(&state).await
}

/// Sends `list` of the frames as the client accepts them.
pub async fn send(
    request: &HttpRequest,
    state: &DicomWeb,
    set: FrameSet,
    list: Vec<usize>,
) -> Result<HttpResponse> {
    Frames::wanted(state, set, list, Wishes::of(request, state)?)?.send(state).await
}

/// Where the frames of an instance are.
enum Found {
    /// In the file as they are; the beginning of those that go out so is read.
    Native(Frames),
    /// In the object, which must be read whole.
    Object { entry: Box<InstanceEntry>, list: Vec<usize>, wishes: Wishes },
}

impl Found {
    fn at(state: &DicomWeb, place: &Place, list: Vec<usize>, wishes: Wishes) -> Result<Self> {
        let entry = object::entry(&state.archive, place)?;
        let Some(set) = FrameSet::native(&entry, &state.options) else {
            return Ok(Self::Object { entry: Box::new(entry), list, wishes });
        };
        Ok(Self::Native(match Frames::wanted(state, set, list, wishes)? {
            Frames::Stored(answer) => Frames::Stored(answer.begun()?),
            made => made,
        }))
    }
}

/// Frames in the form that the client prefers.
enum Frames {
    /// From the file, where they lie in it as they are to be sent.
    Stored(Answer),
    /// Decoded, or encoded anew.
    Made(Made),
}

/// What is made of frames.
struct Made {
    set: FrameSet,
    list: Vec<usize>,
    offer: Offer,
    wishes: Wishes,
    tag: EntityTag,
}

impl Frames {
    fn wanted(state: &DicomWeb, set: FrameSet, list: Vec<usize>, wishes: Wishes) -> Result<Self> {
        set.check_all(&list)?;
        let offer = wishes.choose(&set.offers(list.len()))?;
        let tag = EntityTag::of([set.entry.as_ref()], &offer, &format!("frames {list:?}"));
        let Some(stretches) = set.stretches(&list, &offer) else {
            return Ok(Self::Made(Made { set, list, offer, wishes, tag }));
        };
        let (part_type, instance) = (part_type(&offer), wishes.urls.retrieve_instance(&set.entry.uids));
        let part = |(stretch, frame)| Part {
            content_type: part_type.clone(),
            location: Some(frame_location(&instance, frame)),
            content: vec![stretch],
        };
        let parts = std::iter::zip(stretches, list).map(part).collect();
        Answer::new(state, &wishes, &offer, parts, Some(tag)).map(Self::Stored)
    }

    async fn send(self, state: &DicomWeb) -> Result<HttpResponse> {
        match self {
            Self::Stored(answer) => Ok(answer.into_response()),
            Self::Made(made) => send_made(state, made).await,
        }
    }
}

/// Makes frames and sends them: the first before the answer begins, so that what cannot be decoded has a status.
async fn send_made(state: &DicomWeb, made: Made) -> Result<HttpResponse> {
    let Made { set, list, offer, wishes, tag } = made;
    if let Some(unchanged) = wishes.known.unchanged(&tag) {
        return Ok(unchanged);
    }
    let part_type = part_type(&offer);
    let instance = wishes.urls.retrieve_instance(&set.entry.uids);
    let mut list = list.into_iter();
    let Some(number) = list.next() else { return NotFoundSnafu { what: "frame" }.fail() };
    let form = offer.clone();
    let make_first = move || {
        let set = set.ready_for(&form)?;
        let first = set.read(number, &form)?;
        Ok((set, first))
    };
    let (set, first) = state.decoding(make_first).await?;

    if list.len() == 0 {
        let location = Some(frame_location(&instance, number));
        let part = Part { content_type: part_type, location, content: vec![Segment::Bytes(first)] };
        return Ok(Answer::new(state, &wishes, &offer, vec![part], Some(tag))?.into_response());
    }
    let mut response = HttpResponse::Ok();
    let writer = state.multipart();
    tagged(&mut response, &tag).content_type(writer.content_type(offer.media_type));
    let state = state.clone();
    let others = list.map(move |frame| read(state.clone(), set.clone(), frame, offer.clone()));
    let frames = stream::iter([Ok((number, first))]).chain(stream::iter(others).then(|frame| frame));
    Ok(response.streaming(parts(writer, part_type, instance, frames)))
}

async fn read(state: DicomWeb, set: FrameSet, frame: usize, offer: Offer) -> Result<(usize, Bytes)> {
    state.decoding(move || Ok((frame, set.read(frame, &offer)?))).await
}

fn frame_location(instance: &str, frame: usize) -> String {
    format!("{instance}/frames/{frame}")
}

/// A part's `Content-Type`: the transfer syntax belongs to it (PS3.18 8.7.3.5).
fn part_type(offer: &Offer) -> String {
    match &offer.transfer_syntax {
        Some(syntax) => format!("{}; transfer-syntax={syntax}", offer.media_type),
        None => offer.media_type.to_owned(),
    }
}

fn parts(
    writer: MultipartWriter,
    part_type: String,
    instance: String,
    contents: impl Stream<Item = Result<(usize, Bytes)>>,
) -> impl Stream<Item = Result<Bytes>> {
    let end = writer.end();
    contents
        .flat_map(move |content| {
            stream::iter(match content {
                Ok((frame, content)) => {
                    let location = frame_location(&instance, frame);
                    vec![Ok(writer.part_start(&part_type, Some(&location))), Ok(content)]
                }
                Err(error) => vec![Err(error)],
            })
        })
        .chain(stream::iter([Ok(end)]))
}
