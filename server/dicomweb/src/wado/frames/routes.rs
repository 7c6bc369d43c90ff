//! `GET /studies/{study}/series/{series}/instances/{instance}/frames/{list}`

use std::sync::Arc;

use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::{Stream, StreamExt, stream};

use super::{FrameSet, frame_list};
use crate::error::{NotFoundSnafu, Result};
use crate::media::Offer;
use crate::multipart::MultipartWriter;
use crate::place::Place;
use crate::state::{DicomWeb, blocking, negotiate};
use crate::wado::answer;
use crate::wado::body::Segment;
use crate::wado::object;

/// Sends frames, in the order of the list: uncompressed as `application/octet-stream`, in the compression they are
/// stored in, or in another that the client names; each frame a part, or the body itself where one is asked for and the
/// client accepts it so.
pub async fn frames(request: HttpRequest, state: Data<DicomWeb>, place: Place) -> Result<HttpResponse> {
    let list = request.match_info().get("frames").unwrap_or_default();
    let list = frame_list(list, state.options.max_frames)?;
    let Some(first) = list.first().copied() else { return NotFoundSnafu { what: "frame" }.fail() };
    let archive = state.archive.clone();
    let entry = blocking(move || object::entry(&archive, &place)).await?;
    let set = match FrameSet::native(&entry, &state.options) {
        Some(native) => native,
        None => {
            let options = Arc::clone(&state.options);
            state.decoding(move || FrameSet::read_whole(&entry, first, &options)).await?
        }
    };
    set.check_all(&list)?;
    send(&request, &state, set, list).await
}

/// Sends `list` of the frames as the client accepts them: from the file, where they lie in it as they are to be sent;
/// else the first of them is made before the answer begins, so that what cannot be decoded has a status.
pub async fn send(
    request: &HttpRequest,
    state: &DicomWeb,
    set: FrameSet,
    list: Vec<usize>,
) -> Result<HttpResponse> {
    let buffer_bytes = state.options.buffer_bytes;
    let offer = negotiate(request, &set.offers(list.len()))?;
    let part_type = part_type(&offer);
    if let Some(stretches) = set.stretches(&list, &offer) {
        let parts = stretches.into_iter().map(|stretch| (part_type.clone(), stretch)).collect();
        return answer::send(request, &offer, parts, buffer_bytes);
    }
    let mut list = list.into_iter();
    let Some(first) = list.next() else { return NotFoundSnafu { what: "frame" }.fail() };
    let form = offer.clone();
    let make_first = move || {
        let set = set.ready_for(&form)?;
        let first = set.read(first, &form)?;
        Ok((set, first))
    };
    let (set, first) = state.decoding(make_first).await?;

    if list.len() == 0 {
        return answer::send(request, &offer, vec![(part_type, Segment::Bytes(first))], buffer_bytes);
    }
    let mut response = HttpResponse::Ok();
    let writer = MultipartWriter::new();
    response.content_type(writer.content_type(offer.media_type));
    let state = state.clone();
    let others = list.map(move |frame| read(state.clone(), set.clone(), frame, offer.clone()));
    let frames = stream::iter([Ok(first)]).chain(stream::iter(others).then(|frame| frame));
    Ok(response.streaming(parts(writer, part_type, frames)))
}

async fn read(state: DicomWeb, set: FrameSet, frame: usize, offer: Offer) -> Result<Bytes> {
    state.decoding(move || set.read(frame, &offer)).await
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
    contents: impl Stream<Item = Result<Bytes>>,
) -> impl Stream<Item = Result<Bytes>> {
    let end = writer.end();
    contents
        .flat_map(move |content| {
            let start = writer.part_start(&part_type, None);
            stream::iter(match content {
                Ok(content) => vec![Ok(start), Ok(content)],
                Err(error) => vec![Err(error)],
            })
        })
        .chain(stream::iter([Ok(end)]))
}
