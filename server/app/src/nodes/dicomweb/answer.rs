//! An answer that a thread of its own reads, so that whoever works on it can stop at any time, however long the node is silent.

use std::io::Read;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ureq::RequestBuilder;
use ureq::typestate::WithoutBody;

use super::error::{BrokenSnafu, NodeError, SilentSnafu};

/// How much is read at a time at the most, bytes, and how many such stretches wait to be worked on.
const STRETCH_BYTES: usize = 256 << 10;
const WAITING_STRETCHES: usize = 8;
/// How often it is asked whether to go on.
const LOOK: Duration = Duration::from_millis(250);

/// What comes of an answer, in this order.
#[derive(Debug, PartialEq)]
pub enum Piece {
    /// Its status and Content-Type.
    Head { status: u16, content_type: String },
    /// The next bytes of its body; never empty.
    Content(Bytes),
    /// The body is complete.
    End,
}

/// See the module's page.
pub struct Coming {
    pieces: Receiver<Result<Piece, String>>,
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
            if let Err(reason) = read(request, &sender) {
                // Where nobody listens any more, there is nobody to tell.
                let _ = sender.send(Err(reason));
            }
        };
        let started = std::thread::Builder::new().name("node-answer".into()).spawn(reading);
        match started {
            Ok(_) => Ok(Self { pieces, silence }),
            Err(error) => BrokenSnafu { reason: error.to_string() }.fail(),
        }
    }

    /// What comes next; `None` where it is not to go on.
    ///
    /// # Errors
    /// The connection broke off, or the node is silent.
    pub fn next(&self, goes_on: &dyn Fn() -> bool) -> Result<Option<Piece>, NodeError> {
        let deadline = Instant::now() + self.silence;
        while goes_on() {
            match self.pieces.recv_timeout(LOOK.min(self.silence)) {
                Ok(piece) => return piece.map(Some).map_err(|reason| BrokenSnafu { reason }.build()),
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(RecvTimeoutError::Timeout) => {
                    return SilentSnafu { seconds: self.silence.as_secs() }.fail();
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return BrokenSnafu { reason: "the answer has ended" }.fail();
                }
            }
        }
        Ok(None)
    }
}

/// Reads the answer to its end, or until nobody wants more.
fn read(request: RequestBuilder<WithoutBody>, to: &SyncSender<Result<Piece, String>>) -> Result<(), String> {
    let answer = request.call().map_err(|error| error.to_string())?;
    let content_type = answer.headers().get("Content-Type").and_then(|value| value.to_str().ok());
    let head = Piece::Head {
        status: answer.status().as_u16(),
        content_type: content_type.unwrap_or_default().to_owned(),
    };
    if to.send(Ok(head)).is_err() {
        return Ok(());
    }
    let mut body = answer.into_body().into_reader();
    let mut stretch = vec![0; STRETCH_BYTES];
    loop {
        let length = body.read(&mut stretch).map_err(|error| error.to_string())?;
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
