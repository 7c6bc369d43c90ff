//! `GET /subscribers/{aetitle}`: the Open Notification Connection and Send Event Report transactions, over WebSocket.
//!
//! A report is a text message with a DICOM JSON data set. Reports that a reader does not take in time end its connection,
//! so that what waits stays bounded; it opens another, and searches for what it missed.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_8.10.4>

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use actix_ws::{CloseCode, CloseReason, Closed, Message, MessageStream, Session};
use engram_worklist::{AeTitle, Channel, EventReport};
use snafu::ResultExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::path::Subscriber;
use crate::error::{NotAWebSocketSnafu, Result, WorklistSnafu};
use crate::state::{DicomWeb, blocking};

/// Reports that wait for a reader.
const PENDING: usize = 4096;
/// Longest message that a client may send, in bytes: it has nothing to say.
const MOST_HEARD: usize = 4096;
/// How often a quiet client is asked whether it is there.
const PING: Duration = Duration::from_secs(20);
/// How long it may say nothing at all.
const SILENCE: Duration = Duration::from_secs(60);
/// How long one message may take to be sent.
const SLOW: Duration = Duration::from_secs(20);

/// Opens a connection over which an AE gets its event reports.
pub async fn connect(
    request: HttpRequest,
    state: Data<DicomWeb>,
    subscriber: Subscriber,
    payload: Payload,
) -> Result<HttpResponse> {
    let (response, session, messages) = match actix_ws::handle(&request, payload) {
        Ok(opened) => opened,
        Err(error) => return NotAWebSocketSnafu { problem: error.to_string() }.fail(),
    };
    let (sender, reports) = mpsc::channel(PENDING);
    let channel = blocking(move || open(&state, &subscriber.0, sender)).await?;
    let messages = messages.max_frame_size(MOST_HEARD);
    drop(actix_web::rt::spawn(async move {
        let goodbye = serve(session.clone(), messages, reports).await.unwrap_or(None);
        drop(channel);
        // Whoever is gone needs no goodbye.
        let _ = timeout(SLOW, session.close(goodbye)).await;
    }));
    Ok(response)
}

fn open(state: &DicomWeb, ae_title: &AeTitle, sender: mpsc::Sender<Arc<EventReport>>) -> Result<Channel> {
    let sink = Box::new(move |report: &Arc<EventReport>| sender.try_send(Arc::clone(report)).is_ok());
    state.worklist.open_channel(ae_title, sink).context(WorklistSnafu)
}

/// Sends reports until one side ends it; why this side does.
async fn serve(
    mut session: Session,
    mut messages: MessageStream,
    mut reports: mpsc::Receiver<Arc<EventReport>>,
) -> Result<Option<CloseReason>, Closed> {
    let mut pings = interval(PING);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    let mut message_id = 0u16;
    loop {
        tokio::select! {
            report = reports.recv() => {
                let Some(report) = report else { return Ok(Some(ended())) };
                message_id = message_id.wrapping_add(1).max(1);
                // Plain data: were it ever not to serialise, the report goes without it.
                let text = serde_json::to_string(&report.data_set(message_id)).unwrap_or_default();
                let Ok(sent) = timeout(SLOW, session.text(text)).await else { return Ok(None) };
                sent?;
            }
            message = messages.recv() => {
                heard = Instant::now();
                match message {
                    Some(Ok(Message::Ping(bytes))) => session.pong(&bytes).await?,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(None),
                    Some(Ok(_)) => {}
                }
            }
            _ = pings.tick() => {
                if heard.elapsed() > SILENCE {
                    return Ok(None);
                }
                session.ping(b"").await?;
            }
        }
    }
}

/// The worklist let the connection go: the server ends, or its reader was too slow.
fn ended() -> CloseReason {
    let description = Some("the server ends, or reports were not taken in time".to_owned());
    CloseReason { code: CloseCode::Away, description }
}
