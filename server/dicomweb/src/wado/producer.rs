//! Answers that are made while they are sent.

use actix_web::HttpResponse;
use actix_web::HttpResponseBuilder;
use bytes::Bytes;
use futures_util::{Stream, stream};

use crate::error::Result;
use crate::state::DicomWeb;

/// Makes an answer piece by piece, by calls that block.
pub trait Producer: Send + Sized + 'static {
    /// The next piece, or `None` at the end.
    fn produce(&mut self) -> Result<Option<Bytes>>;
}

/// Makes one piece, where blocking is allowed, when its turn comes.
pub async fn next<P: Producer>(state: &DicomWeb, mut producer: P) -> Result<(Option<Bytes>, P)> {
    state.decoding(move || Ok((producer.produce()?, producer))).await
}

/// The answer with this body. The first piece is made before the answer begins, so that what cannot be done has a
/// status; each of the others when the one before it was sent. An error then breaks the connection off, so that the
/// client notices.
pub async fn stream<P: Producer>(
    state: DicomWeb,
    mut response: HttpResponseBuilder,
    producer: P,
) -> Result<HttpResponse> {
    let (first, producer) = next(&state, producer).await?;
    Ok(response.streaming(pieces(state, first, producer)))
}

fn pieces<P: Producer>(
    state: DicomWeb,
    first: Option<Bytes>,
    producer: P,
) -> impl Stream<Item = Result<Bytes>> {
    stream::unfold((state, first, Some(producer)), |(state, first, producer)| async move {
        if let Some(piece) = first {
            return Some((Ok(piece), (state, None, producer)));
        }
        match next(&state, producer?).await {
            Ok((Some(piece), producer)) => Some((Ok(piece), (state, None, Some(producer)))),
            Ok((None, _)) => None,
            Err(error) => {
                tracing::error!(%error, "could not make the rest of an answer");
                Some((Err(error), (state, None, None)))
            }
        }
    })
}
