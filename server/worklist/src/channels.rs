//! Connections over which events go out.

use crate::{AeTitle, Result, error::FullSnafu, event::EventReport};
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc};

/// Takes a report for its receiver; false where it cannot, which ends the connection. It runs on the thread that caused
/// the event, under the worklist's lock: it must neither block nor call the worklist.
pub type Sink = Box<dyn Fn(&Arc<EventReport>) -> bool + Send + Sync>;

/// The open connections.
#[derive(Clone, Default)]
pub(crate) struct Channels {
    inner: Arc<Mutex<Open>>,
}

#[derive(Default)]
struct Open {
    by_number: BTreeMap<u64, (AeTitle, Sink)>,
    next: u64,
    is_closed: bool,
}

impl Channels {
    pub(crate) fn open(&self, ae_title: AeTitle, sink: Sink, most: usize) -> Result<Channel> {
        let mut open = self.inner.lock();
        if open.is_closed || open.by_number.len() >= most {
            return FullSnafu { what: "connections for events", limit: most }.fail();
        }
        let number = open.next;
        open.next += 1;
        open.by_number.insert(number, (ae_title, sink));
        Ok(Channel { channels: self.clone(), number })
    }

    /// Sends a report to all connections of an AE; whether there was one.
    pub(crate) fn send(&self, ae_title: &AeTitle, report: &Arc<EventReport>) -> bool {
        let mut open = self.inner.lock();
        let before = open.by_number.len();
        let mut sent = 0;
        open.by_number.retain(|_, (owner, sink)| {
            let keeps_up = owner != ae_title || sink(report);
            sent += usize::from(keeps_up && owner == ae_title);
            keeps_up
        });
        if open.by_number.len() < before {
            tracing::warn!(%ae_title, "a connection for events was ended: its reader is too slow or gone");
        }
        sent > 0
    }

    /// Sends a last report to everyone and lets all connections go.
    pub(crate) fn close(&self, report: &Arc<EventReport>) {
        let mut open = self.inner.lock();
        open.is_closed = true;
        for (_, (_, sink)) in std::mem::take(&mut open.by_number) {
            sink(report);
        }
    }
}

/// Keeps a connection open: dropping it ends it.
#[must_use = "the connection ends when this is dropped"]
pub struct Channel {
    channels: Channels,
    number: u64,
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.channels.inner.lock().by_number.remove(&self.number);
    }
}
