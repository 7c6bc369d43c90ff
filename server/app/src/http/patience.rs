//! How long a body of the API may take to arrive. DICOMweb has a limit of its own, for bodies that may be large.

use std::io;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::Method;
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage};
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, timeout_at};

/// Has the request's body end in an error ([`is_over`]) when it has not arrived within `patience`.
pub async fn limit<B: MessageBody>(
    patience: Duration,
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    if *request.method() != Method::GET {
        let (payload, deadline) = (request.take_payload(), Instant::now() + patience);
        let limited = stream::unfold(payload, move |mut payload| async move {
            let chunk = match timeout_at(deadline, payload.next()).await {
                Ok(chunk) => chunk?,
                Err(_) => Err(PayloadError::Io(io::ErrorKind::TimedOut.into())),
            };
            Some((chunk, payload))
        });
        request.set_payload(Payload::Stream { payload: Box::pin(limited) });
    }
    next.call(request).await
}

/// Whether a body could not be read because it took too long.
pub fn is_over(error: &PayloadError) -> bool {
    matches!(error, PayloadError::Io(error) if error.kind() == io::ErrorKind::TimedOut)
}
