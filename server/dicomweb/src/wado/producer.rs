//! Answers that are made while they are sent.

use actix_web::HttpResponse;
use actix_web::HttpResponseBuilder;
use bytes::Bytes;
use futures_util::{Stream, stream};

use crate::error::Result;
use crate::state::blocking;

/// Makes an answer piece by piece, by calls that block.
pub trait Producer: Send + Sized + 'static {
    /// The next piece, or `None` at the end.
    fn produce(&mut self) -> Result<Option<Bytes>>;
}

/// Makes one piece, where blocking is allowed.
pub async fn next<P: Producer>(mut producer: P) -> Result<(Option<Bytes>, P)> {
    blocking(move || Ok((producer.produce()?, producer))).await
}

/// The answer with this body. The first piece is made before the answer begins, so that what cannot be done has a
/// status; each of the others when the one before it was sent. An error then breaks the connection off, so that the
/// client notices.
pub async fn stream<P: Producer>(mut response: HttpResponseBuilder, producer: P) -> Result<HttpResponse> {
    let (first, producer) = next(producer).await?;
    Ok(response.streaming(pieces(first, producer)))
}

fn pieces<P: Producer>(first: Option<Bytes>, producer: P) -> impl Stream<Item = Result<Bytes>> {
    stream::unfold((first, Some(producer)), |(first, producer)| async move {
        if let Some(piece) = first {
            return Some((Ok(piece), (None, producer)));
        }
        match next(producer?).await {
            Ok((Some(piece), producer)) => Some((Ok(piece), (None, Some(producer)))),
            Ok((None, _)) => None,
            Err(error) => {
                tracing::error!(%error, "could not make the rest of an answer");
                Some((Err(error), (None, None)))
            }
        }
    })
}
