//! Telling those who watch a job.

use crate::{Job, JobId};
use parking_lot::{Condvar, Mutex};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

/// Something happened to a job: the job as it stands after it.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Its state changed.
    State(Job),
    /// A new stage began.
    Stage(Job),
    /// Its stage came further.
    Progress(Job),
}

impl Event {
    /// The job as it stood after the event.
    pub fn job(&self) -> &Job {
        match self {
            Event::State(job) | Event::Stage(job) | Event::Progress(job) => job,
        }
    }
}

/// What is called on every event. It runs on the thread that caused the event, under the queue's lock: it
/// must neither block nor call the queue; handing the event to a channel is what it is for.
pub type Observer = Box<dyn Fn(&Event) + Send + Sync>;

/// Who watches which job.
#[derive(Clone, Default)]
pub(crate) struct Observers {
    jobs: Arc<Mutex<Watched>>,
}

#[derive(Default)]
struct Watched {
    by_job: HashMap<JobId, Vec<(u64, Observer)>>,
    next: u64,
}

impl Observers {
    /// Tells the observer where the job stands, then keeps it unless the job is finished.
    pub(crate) fn add(&self, job: &Job, observer: Observer) -> Observation {
        observer(&Event::State(job.clone()));
        let mut watched = self.jobs.lock();
        let number = watched.next;
        watched.next += 1;
        if !job.state.is_finished() {
            watched.by_job.entry(job.id).or_default().push((number, observer));
        }
        Observation { observers: self.clone(), job: job.id, number }
    }

    /// Tells everyone who watches the event's job; those of a finished job are let go.
    pub(crate) fn tell(&self, event: &Event) {
        let id = event.job().id;
        let mut watched = self.jobs.lock();
        for (_, observer) in watched.by_job.get(&id).into_iter().flatten() {
            observer(event);
        }
        if event.job().state.is_finished() {
            watched.by_job.remove(&id);
        }
    }

    fn remove(&self, job: JobId, number: u64) {
        let mut watched = self.jobs.lock();
        if let Some(observers) = watched.by_job.get_mut(&job) {
            observers.retain(|(other, _)| *other != number);
            if observers.is_empty() {
                watched.by_job.remove(&job);
            }
        }
    }
}

/// Keeps an observer in place: dropping it ends the observation.
#[must_use = "the observation ends when this is dropped"]
pub struct Observation {
    observers: Observers,
    job: JobId,
    number: u64,
}

impl Drop for Observation {
    fn drop(&mut self) {
        self.observers.remove(self.job, self.number);
    }
}

/// Events that wait to be taken.
#[derive(Default)]
pub(crate) struct Mailbox {
    events: Mutex<VecDeque<Event>>,
    arrived: Condvar,
}

impl Mailbox {
    /// Adds an event; progress takes the place of progress that nobody has taken yet, so that a slow reader
    /// costs no memory.
    pub(crate) fn put(&self, event: &Event) {
        let mut events = self.events.lock();
        if matches!(event, Event::Progress(_)) && matches!(events.back(), Some(Event::Progress(_))) {
            events.pop_back();
        }
        events.push_back(event.clone());
        self.arrived.notify_all();
    }
}

/// A job's events, to be waited for. It starts with the job as it stands; a reader that is slow misses
/// progress in between but no stage and no state.
pub struct Subscription {
    mailbox: Arc<Mailbox>,
    is_over: Mutex<bool>,
    _observation: Observation,
}

impl Subscription {
    pub(crate) fn new(mailbox: Arc<Mailbox>, observation: Observation) -> Self {
        Subscription { mailbox, is_over: Mutex::new(false), _observation: observation }
    }

    /// The next event; `None` after `timeout`, and at once when the job's last event was taken
    /// ([`Subscription::is_over`]).
    pub fn next(&self, timeout: Duration) -> Option<Event> {
        let deadline = Instant::now().checked_add(timeout);
        let mut is_over = self.is_over.lock();
        if *is_over {
            return None;
        }
        let mut events = self.mailbox.events.lock();
        while events.is_empty() {
            let timed_out = match deadline {
                Some(deadline) => self.mailbox.arrived.wait_until(&mut events, deadline).timed_out(),
                None => {
                    self.mailbox.arrived.wait(&mut events);
                    false
                }
            };
            if timed_out && events.is_empty() {
                return None;
            }
        }
        let event = events.pop_front()?;
        *is_over = event.job().state.is_finished();
        Some(event)
    }

    /// Whether the job is finished and every event taken.
    pub fn is_over(&self) -> bool {
        *self.is_over.lock()
    }
}
