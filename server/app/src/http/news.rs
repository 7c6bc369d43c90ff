//! `GET /api/v1/events`: what happens in the house, as Server-Sent Events.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use engram_workflow::{Item, Workflow};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::State;
use super::problem::Problem;

/// How long a quiet stream stays quiet: then a comment keeps proxies from closing it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events that wait for a slow reader; what it misses beyond what is remembered is lost to it.
const PENDING: usize = 16;
/// Streams at a time: each has a thread.
pub const MAX_STREAMS: usize = 64;

/// Streams what happens from now on; with `Last-Event-ID`, what happened after that as well, as far as it is remembered.
pub async fn get(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let mut response = HttpResponse::Ok();
    response.content_type("text/event-stream").insert_header(("Cache-Control", "no-cache"));
    if *request.method() == Method::HEAD {
        return Ok(response.finish());
    }
    let last = request.headers().get("Last-Event-ID").and_then(|value| value.to_str().ok()?.parse().ok());
    let seat = Arc::clone(&state.listeners).try_acquire_owned().map_err(|_| too_many())?;
    let workflow = Arc::clone(&state.workflow);
    let start = last.unwrap_or_else(|| workflow.latest_news());
    let (sender, receiver) = mpsc::channel::<Bytes>(PENDING);
    std::thread::Builder::new()
        .name("news".into())
        .spawn(move || tell(&workflow, start, &sender, seat))
        .map_err(Problem::internal)?;
    Ok(response.streaming(ReceiverStream::new(receiver).map(Ok::<_, actix_web::Error>)))
}

fn tell(workflow: &Workflow, mut last: u64, sender: &mpsc::Sender<Bytes>, _seat: OwnedSemaphorePermit) {
    // Tells the listener that from here on nothing is missed.
    let mut messages = vec![Bytes::from_static(b": listening\n\n")];
    loop {
        for message in messages.drain(..) {
            if sender.blocking_send(message).is_err() {
                return;
            }
        }
        let items = workflow.news_after(last, KEEP_ALIVE);
        last = items.last().map_or(last, |item| item.number);
        messages = match items.as_slice() {
            [] => vec![Bytes::from_static(b": still here\n\n")],
            items => items.iter().map(|item| message(item)).collect(),
        };
    }
}

fn message(item: &Item) -> Bytes {
    // News is plain data; were it ever not to serialise, the event goes without it.
    let name = serde_json::to_value(item.news.kind()).unwrap_or(Value::Null);
    let data = serde_json::to_string(item).unwrap_or_default();
    let name = name.as_str().unwrap_or_default();
    Bytes::from(format!("id: {}\nevent: {name}\ndata: {data}\n\n", item.number))
}

fn too_many() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "too_many_streams",
        format!("{MAX_STREAMS} listeners are here already"),
        "Close a stream, or try again later.",
    )
}
