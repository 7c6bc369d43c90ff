//! The association request/reject/release timer, ARTIM (PS3.8 9.1.5): who connects must ask for an association, and agree on
//! TLS before, within one time-out in all. A time-out of each read does not hold who sends a byte now and then.

use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use snafu::ResultExt;

use crate::{Error, PeerSnafu, StartThreadSnafu};

/// A connection, until its timer is stopped.
type Watched = Arc<Mutex<Option<TcpStream>>>;

/// Shuts connections down whose timers run out. All run for the same time, so they run out in the order of their start.
pub struct Artim {
    started: Sender<(Instant, Watched)>,
    patience: Duration,
}

/// A running timer. It is stopped when this goes.
pub struct Timer(Watched);

impl Artim {
    /// With the thread that waits for timers to run out.
    pub fn start(patience: Duration) -> Result<Self, Error> {
        let (started, timers) = channel();
        let thread = std::thread::Builder::new().name("dimse-artim".into());
        thread.spawn(move || run_out(&timers)).context(StartThreadSnafu)?;
        Ok(Self { started, patience })
    }

    /// Starts a connection's timer.
    pub fn watch(&self, stream: &TcpStream) -> Result<Timer, Error> {
        let watched = Arc::new(Mutex::new(Some(stream.try_clone().context(PeerSnafu)?)));
        // The thread ends only when this sender is gone.
        let _ = self.started.send((Instant::now() + self.patience, Arc::clone(&watched)));
        Ok(Timer(watched))
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.lock().take();
    }
}

fn run_out(timers: &Receiver<(Instant, Watched)>) {
    for (deadline, watched) in timers {
        std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
        if let Some(stream) = watched.lock().take() {
            tracing::warn!(peer = ?stream.peer_addr().ok(), "a connection asked for no association in time");
            // One that is closed already needs no shutting down.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
