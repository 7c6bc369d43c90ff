//! An answer that a thread of its own reads, so that whoever works on it can stop at any time, however long the node is silent. The
//! thread ends with the answer, when nobody wants more of it, or when the node is silent for as long as it may be.

use std::io::{ErrorKind, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ureq::RequestBuilder;
use ureq::typestate::WithoutBody;

use super::error::{BrokenSnafu, InterruptedSnafu, NodeError, SilentSnafu, UnreadableSnafu};

/// How much is read at a time at the most, bytes, and how many such stretches wait to be worked on.
const STRETCH_BYTES: usize = 256 << 10;
const WAITING_STRETCHES: usize = 8;
/// How often it is asked whether to go on.
const LOOK: Duration = Duration::from_millis(250);

/// What comes of an answer, in this order.
#[derive(Debug, PartialEq)]
pub enum Piece {
    /// Its status, its Content-Type, and its Warning, each empty where there is none.
    Head { status: u16, content_type: String, warning: String },
    /// The next bytes of its body; never empty.
    Content(Bytes),
    /// The body is complete.
    End,
}

/// See the module's page.
pub struct Coming {
    pieces: Receiver<Result<Piece, NodeError>>,
    silence: Duration,
}

impl Coming {
    /// Asks, on a thread of its own. `silence` is how long the node may say nothing.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn of(request: RequestBuilder<WithoutBody>, silence: Duration) -> Result<Self, NodeError> {
        let (sender, pieces) = sync_channel(WAITING_STRETCHES);
        let reading = move || {
            if let Err(error) = read(request, silence, &sender) {
                // Where nobody listens any more, there is nobody to tell.
                let _ = sender.send(Err(error));
            }
        };
        let started = std::thread::Builder::new().name("node-answer".into()).spawn(reading);
        match started {
            Ok(_) => Ok(Self { pieces, silence }),
            Err(error) => BrokenSnafu { reason: error.to_string() }.fail(),
        }
    }

    /// What comes next.
    ///
    /// # Errors
    /// The connection broke off, the node is silent, or it is not to go on.
    pub fn next(&self, goes_on: &dyn Fn() -> bool) -> Result<Piece, NodeError> {
        let deadline = Instant::now() + self.silence;
        while goes_on() {
            match self.pieces.recv_timeout(LOOK.min(self.silence)) {
                Ok(piece) => return piece,
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(RecvTimeoutError::Timeout) => return Err(silent(self.silence)),
                Err(RecvTimeoutError::Disconnected) => {
                    return BrokenSnafu { reason: "the answer has ended" }.fail();
                }
            }
        }
        InterruptedSnafu.fail()
    }

    /// What is left of the body.
    ///
    /// # Errors
    /// As [`Coming::next`]; it is larger than `limit` bytes.
    pub fn rest(&self, limit: usize, goes_on: &dyn Fn() -> bool) -> Result<Vec<u8>, NodeError> {
        let mut body = Vec::new();
        loop {
            match self.next(goes_on)? {
                Piece::Content(bytes) if bytes.len() > limit.saturating_sub(body.len()) => {
                    return UnreadableSnafu { reason: format!("it is larger than {limit} bytes") }.fail();
                }
                Piece::Content(bytes) => body.extend_from_slice(&bytes),
                Piece::End => return Ok(body),
                Piece::Head { .. } => {}
            }
        }
    }
}

/// Reads the answer to its end, or until nobody wants more.
fn read(
    request: RequestBuilder<WithoutBody>,
    silence: Duration,
    to: &SyncSender<Result<Piece, NodeError>>,
) -> Result<(), NodeError> {
    let answer = request.call().map_err(|error| match error {
        ureq::Error::Timeout(_) => silent(silence),
        error => BrokenSnafu { reason: error.to_string() }.build(),
    })?;
    let header = |name: &str| {
        let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let head = Piece::Head {
        status: answer.status().as_u16(),
        content_type: header("Content-Type"),
        warning: header("Warning"),
    };
    if to.send(Ok(head)).is_err() {
        return Ok(());
    }
    let mut body = answer.into_body().into_reader();
    let mut stretch = vec![0; STRETCH_BYTES];
    loop {
        let length = body.read(&mut stretch).map_err(|error| match error.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => silent(silence),
            _ => BrokenSnafu { reason: error.to_string() }.build(),
        })?;
        let piece = match stretch.get(..length) {
            Some(read) if length > 0 => Piece::Content(Bytes::copy_from_slice(read)),
            _ => Piece::End,
        };
        let is_last = piece == Piece::End;
        if to.send(Ok(piece)).is_err() || is_last {
            return Ok(());
        }
    }
}

fn silent(silence: Duration) -> NodeError {
    SilentSnafu { seconds: silence.as_secs() }.build()
}
