//! `GET /api/v1/jobs/{id}/events`: Server-Sent Events until the job ends.

use std::time::Duration;

use actix_web::http::Method;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use engram_jobs::{Event, JobId};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::State;
use super::job_view::JobView;
use super::problem::{Problem, blocking};

/// How long a quiet stream stays quiet: then a comment keeps proxies from closing it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events that wait for a slow reader.
const PENDING: usize = 16;

/// Streams `state`, `stage` and `progress` events, each with the job as its data.
pub async fn get(
    request: HttpRequest,
    state: web::Data<State>,
    id: web::Path<JobId>,
) -> Result<HttpResponse, Problem> {
    let id = id.into_inner();
    let subscription = blocking(move || state.workflow.subscribe(id)).await?;
    let Some(subscription) = subscription else { return Err(Problem::no_such_job(id)) };
    let mut response = HttpResponse::Ok();
    response.content_type("text/event-stream").insert_header(("Cache-Control", "no-cache"));
    // Its body would be read to the job's end, and thrown away.
    if *request.method() == Method::HEAD {
        return Ok(response.finish());
    }
    let (sender, receiver) = mpsc::channel::<Bytes>(PENDING);
    // A thread of its own, not of the bounded blocking pool: watchers may stay for minutes.
    std::thread::Builder::new()
        .name("job-events".into())
        .spawn(move || {
            while !subscription.is_over() {
                let message = subscription.next(KEEP_ALIVE).map_or_else(keep_alive, |event| message(&event));
                if sender.blocking_send(message).is_err() {
                    return;
                }
            }
        })
        .map_err(Problem::internal)?;
    let body = ReceiverStream::new(receiver).map(Ok::<_, actix_web::Error>);
    Ok(response.streaming(body))
}

fn keep_alive() -> Bytes {
    Bytes::from_static(b": still here\n\n")
}

fn message(event: &Event) -> Bytes {
    let name = match event {
        Event::State(_) => "state",
        Event::Stage(_) => "stage",
        Event::Progress(_) => "progress",
    };
    // A job view is plain data; were it ever not to serialise, the event goes without it.
    let data = serde_json::to_string(&JobView::brief(event.job().clone())).unwrap_or_default();
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}
