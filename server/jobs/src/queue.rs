//! The queue's face.

use crate::{
    CancelToken, Claimed, Error, Event, Job, JobFailure, JobFilter, JobId, JobState, NewJob, Observation,
    Observer, Progress, QueueOptions, Result, Retry, StageTiming, Subscription, Timestamp,
    events::{Mailbox, Observers},
    pace::Pace,
    table::Table,
};
use parking_lot::{Condvar, Mutex};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// What became of a request to cancel.
#[derive(Clone, Debug, PartialEq)]
pub enum CancelOutcome {
    /// It waited and is cancelled now.
    Cancelled(Job),
    /// It runs; its worker was told.
    Asked(Job),
    /// It had ended before.
    AlreadyFinished(Job),
}

/// A durable queue of jobs. Cheap to clone; every clone is the same queue.
#[derive(Clone)]
pub struct Queue {
    inner: Arc<Inner>,
}

struct Inner {
    options: QueueOptions,
    observers: Observers,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    table: Table,
    /// Jobs that wait or run, by sequence number.
    live: BTreeMap<u64, Live>,
    /// Sequence numbers of finished jobs that are let go of in time.
    finished: BTreeSet<u64>,
    /// How many jobs failed and stay.
    failed: usize,
    next_sequence: u64,
    pace: Pace,
    is_closed: bool,
}

struct Live {
    job: Job,
    cancel: CancelToken,
    stage_started: Timestamp,
    shown: Timestamp,
}

impl Live {
    fn new(job: Job) -> Self {
        Live {
            job,
            cancel: CancelToken::default(),
            stage_started: Timestamp::default(),
            shown: Timestamp::default(),
        }
    }
}

impl Queue {
    /// Opens the queue: replays the journal, fills `tree` from it, and queues again what was running. A job
    /// whose attempts are used up fails; one that was to be cancelled is cancelled.
    pub fn open(tree: sled::Tree, journal: &Path, options: QueueOptions) -> Result<Queue> {
        let (mut table, jobs) = Table::open(tree, journal)?;
        let now = options.clock.now();
        let mut jobs: Vec<Job> = jobs.into_iter().map(|job| resumed(job, &options, now)).collect();
        let finished = jobs.iter().filter(|job| options.lets_go_of(job)).count();
        let mut surplus = finished.saturating_sub(options.max_finished);
        jobs.retain(|job| {
            let is_surplus = surplus > 0 && options.lets_go_of(job);
            surplus -= usize::from(is_surplus);
            !is_surplus
        });
        table.reset(&jobs)?;
        let mut state = State {
            table,
            live: BTreeMap::new(),
            finished: BTreeSet::new(),
            failed: 0,
            next_sequence: jobs.last().map_or(0, |job| job.sequence.saturating_add(1)),
            pace: Pace::default(),
            is_closed: false,
        };
        for job in jobs {
            if job.state == JobState::Succeeded {
                state.pace.learn(&job);
            }
            if job.state.is_finished() {
                state.count_finished(&job, &options);
            } else {
                state.live.insert(job.sequence, Live::new(job));
            }
        }
        let inner = Inner {
            options,
            observers: Observers::default(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        };
        Ok(Queue { inner: Arc::new(inner) })
    }

    /// Adds a job; it survives `kill -9` and power loss once this returns.
    ///
    /// # Errors
    /// [`Error::Full`] where too many wait, [`Error::Exists`] where the id is taken.
    pub fn enqueue(&self, job: NewJob) -> Result<Job> {
        let mut state = self.inner.state.lock();
        let limit = self.inner.options.max_queued;
        let waiting = state.live.values().filter(|live| live.job.state == JobState::Queued).count();
        if waiting.saturating_add(state.failed) >= limit {
            return Err(Error::Full { limit });
        }
        if state.table.sequence(job.id)?.is_some() {
            return Err(Error::Exists { id: job.id });
        }
        let job = Job::new(job, state.next_sequence, self.inner.options.clock.now());
        state.table.keep(&job)?;
        state.next_sequence = state.next_sequence.saturating_add(1);
        state.live.insert(job.sequence, Live::new(job.clone()));
        self.inner.changed.notify_all();
        Ok(job)
    }

    /// Waits up to `timeout` for a job of one of these kinds (none named: any) that may start, and takes the oldest of
    /// the highest priority; `None` when none came, when the queue is closed, and when the journal cannot be written.
    pub fn claim(&self, kinds: &[&str], timeout: Duration) -> Option<Claimed> {
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.inner.state.lock();
        loop {
            if state.is_closed {
                return None;
            }
            let now = self.inner.options.clock.now();
            if let Some(sequence) = state.next(kinds, now) {
                return self.start(&mut state, sequence);
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return None;
            }
            let until = [deadline, state.next_may_start(kinds, now)].into_iter().flatten().min();
            match until {
                Some(until) => drop(self.inner.changed.wait_until(&mut state, until)),
                None => self.inner.changed.wait(&mut state),
            }
        }
    }

    fn start(&self, state: &mut State, sequence: u64) -> Option<Claimed> {
        let State { table, live, .. } = state;
        let live = live.get_mut(&sequence)?;
        let now = self.inner.options.clock.now();
        let job = Job {
            state: JobState::Running,
            attempts: live.job.attempts.saturating_add(1),
            started_at: Some(now),
            ..live.job.clone()
        };
        if let Err(error) = table.keep(&job) {
            tracing::error!(job = %job.id, error = %snafu::Report::from_error(error), "could not start a job");
            return None;
        }
        *live = Live { cancel: live.cancel.clone(), ..Live::new(job.clone()) };
        self.inner.observers.tell(&Event::State(job.clone()));
        Some(Claimed::new(self.clone(), job, live.cancel.clone()))
    }

    /// The job, waiting, running or finished.
    pub fn get(&self, id: JobId) -> Result<Option<Job>> {
        let state = self.inner.state.lock();
        state.job(id)
    }

    /// Jobs, newest first.
    pub fn list(&self, filter: &JobFilter) -> Result<Vec<Job>> {
        let state = self.inner.state.lock();
        let mut jobs = Vec::new();
        for job in state.table.oldest_first().rev() {
            let job = job?;
            // What runs is further in memory than in the table.
            let job = state.live.get(&job.sequence).map_or(job, |live| live.job.clone());
            if filter.takes(&job) {
                jobs.push(job);
                if jobs.len() == filter.limit {
                    break;
                }
            }
        }
        Ok(jobs)
    }

    /// Cancels a waiting job, or asks a running one to stop. `None` where there is no such job.
    pub fn cancel(&self, id: JobId) -> Result<Option<CancelOutcome>> {
        let mut state = self.inner.state.lock();
        let Some(job) = state.job(id)? else { return Ok(None) };
        if job.state.is_finished() {
            return Ok(Some(CancelOutcome::AlreadyFinished(job)));
        }
        let asked = Job { cancel_requested: true, ..job };
        if asked.state == JobState::Queued {
            let job = Job {
                state: JobState::Cancelled,
                finished_at: Some(self.inner.options.clock.now()),
                ..asked
            };
            self.settle(&mut state, job.clone())?;
            return Ok(Some(CancelOutcome::Cancelled(job)));
        }
        state.table.keep(&asked)?;
        if let Some(live) = state.live.get_mut(&asked.sequence) {
            live.cancel.cancel();
            live.job = asked.clone();
        }
        self.inner.observers.tell(&Event::State(asked.clone()));
        Ok(Some(CancelOutcome::Asked(asked)))
    }

    /// Has a job done as if it came now: one that failed or was cancelled, or that waits to be tried again. One that runs,
    /// or ended well, stays as it is. The job as it then stands; `None` where there is no such job.
    pub fn again(&self, id: JobId) -> Result<Option<Job>> {
        let mut state = self.inner.state.lock();
        let Some(job) = state.job(id)? else { return Ok(None) };
        if matches!(job.state, JobState::Running | JobState::Succeeded) {
            return Ok(Some(job));
        }
        let anew = job.anew(self.inner.options.clock.now());
        state.table.keep(&anew)?;
        state.uncount_finished(&job, &self.inner.options);
        state.live.insert(anew.sequence, Live::new(anew.clone()));
        self.inner.observers.tell(&Event::State(anew.clone()));
        self.inner.changed.notify_all();
        Ok(Some(anew))
    }

    /// Lets go of a finished job, for good. Whether it was there, and finished.
    pub fn forget(&self, id: JobId) -> Result<bool> {
        let mut state = self.inner.state.lock();
        let Some(job) = state.job(id)?.filter(|job| job.state.is_finished()) else { return Ok(false) };
        state.uncount_finished(&job, &self.inner.options);
        state.table.forget(job.sequence)?;
        state.table.rewrite()?;
        Ok(true)
    }

    /// Puts off the start of a waiting job. This is not kept: after a restart, what was kept before counts. Whether the
    /// job was there, and waiting.
    pub fn postpone(&self, id: JobId, not_before: Timestamp) -> Result<bool> {
        let mut state = self.inner.state.lock();
        let State { table, live, .. } = &mut *state;
        let Some(sequence) = table.sequence(id)? else { return Ok(false) };
        let waiting = live.get_mut(&sequence).filter(|live| live.job.state == JobState::Queued);
        Ok(waiting.map(|live| live.job.not_before = Some(not_before)).is_some())
    }

    /// Puts off the start of every waiting job of a kind, as [`postpone`](Queue::postpone) does; what starts later
    /// anyhow stays as it is.
    pub fn postpone_kind(&self, kind: &str, not_before: Timestamp) {
        let mut state = self.inner.state.lock();
        let waiting = state.live.values_mut().map(|live| &mut live.job);
        for job in waiting.filter(|job| job.kind == kind && job.state == JobState::Queued) {
            job.not_before = job.not_before.max(Some(not_before));
        }
    }

    /// Whether a job of this kind waits for a worker or runs.
    pub fn is_busy_with(&self, kind: &str) -> bool {
        self.inner.state.lock().live.values().any(|live| live.job.kind == kind)
    }

    /// The time, as the queue is told it.
    pub fn now(&self) -> Timestamp {
        self.inner.options.clock.now()
    }

    /// Watches a job; `None` where there is no such job.
    pub fn subscribe(&self, id: JobId) -> Result<Option<Subscription>> {
        let mailbox = Arc::new(Mailbox::default());
        let posts = mailbox.clone();
        let observation = self.observe(id, Box::new(move |event| posts.put(event)))?;
        Ok(observation.map(|observation| Subscription::new(mailbox, observation)))
    }

    /// Calls `observer` on every event of a job until the observation is dropped; it starts with the job as
    /// it stands. `None` where there is no such job.
    pub fn observe(&self, id: JobId, observer: Observer) -> Result<Option<Observation>> {
        let state = self.inner.state.lock();
        Ok(state.job(id)?.map(|job| self.inner.observers.add(&job, observer)))
    }

    /// How many jobs wait and how many run.
    pub fn depth(&self) -> (usize, usize) {
        let state = self.inner.state.lock();
        let waiting = state.live.values().filter(|live| live.job.state == JobState::Queued).count();
        (waiting, state.live.len() - waiting)
    }

    /// How many jobs failed and stay ([`QueueOptions::keep_failed`]).
    pub fn failed(&self) -> usize {
        self.inner.state.lock().failed
    }

    /// Wakes all who wait in [`claim`](Queue::claim) with `None`, and lets nobody claim any more: for an
    /// orderly shutdown.
    pub fn close(&self) {
        self.inner.state.lock().is_closed = true;
        self.inner.changed.notify_all();
    }

    pub(crate) fn begin_stage(&self, sequence: u64, name: &str, total: u64) {
        let now = self.inner.options.clock.now();
        let mut state = self.inner.state.lock();
        let State { live, pace, table, .. } = &mut *state;
        let Some(live) = live.get_mut(&sequence) else { return };
        end_stage(live, now);
        live.job.stage = Some(name.to_owned());
        live.job.progress = Progress { done: 0, total };
        live.stage_started = now;
        live.job.seconds_left = pace.seconds_left(&live.job, live.stage_started, now);
        self.show(table, live, now);
        self.inner.observers.tell(&Event::Stage(live.job.clone()));
    }

    pub(crate) fn report_progress(&self, sequence: u64, done: u64) {
        let now = self.inner.options.clock.now();
        let mut state = self.inner.state.lock();
        let State { live, pace, table, .. } = &mut *state;
        let Some(live) = live.get_mut(&sequence) else { return };
        live.job.progress.done = done;
        live.job.seconds_left = pace.seconds_left(&live.job, live.stage_started, now);
        if now.seconds_since(live.shown) >= self.inner.options.save_progress_every.as_secs_f64() {
            self.show(table, live, now);
        }
        self.inner.observers.tell(&Event::Progress(live.job.clone()));
    }

    /// Progress in the table is for those who read it from outside; that it could not be written stops no job.
    fn show(&self, table: &Table, live: &mut Live, now: Timestamp) {
        live.shown = now;
        if let Err(error) = table.show(&live.job) {
            tracing::warn!(job = %live.job.id, error = %snafu::Report::from_error(error), "could not write a job's progress");
        }
    }

    pub(crate) fn end(&self, sequence: u64, outcome: Result<Value, JobFailure>) -> Result<Job> {
        let now = self.inner.options.clock.now();
        let mut state = self.inner.state.lock();
        let Some(live) = state.live.get_mut(&sequence) else { return Err(Error::Gone) };
        end_stage(live, now);
        let job = live.job.ended(outcome, now);
        self.settle(&mut state, job.clone())?;
        Ok(job)
    }

    pub(crate) fn put_back(&self, sequence: u64) -> Result<()> {
        let mut state = self.inner.state.lock();
        let State { table, live, .. } = &mut *state;
        let Some(live) = live.get_mut(&sequence) else { return Err(Error::Gone) };
        let job = live.job.requeued();
        let job = Job { attempts: job.attempts.saturating_sub(1), ..job };
        table.keep(&job)?;
        live.job = job.clone();
        self.inner.observers.tell(&Event::State(job));
        self.inner.changed.notify_all();
        Ok(())
    }

    pub(crate) fn put_off(&self, sequence: u64, later: Retry) -> Result<Job> {
        let now = self.inner.options.clock.now();
        let mut state = self.inner.state.lock();
        let State { table, live, .. } = &mut *state;
        let Some(live) = live.get_mut(&sequence) else { return Err(Error::Gone) };
        if live.job.cancel_requested {
            let job = live.job.ended(Err(later.failure), now);
            self.settle(&mut state, job.clone())?;
            return Ok(job);
        }
        let job = live.job.retried(later);
        table.keep(&job)?;
        live.job = job.clone();
        self.inner.observers.tell(&Event::State(job.clone()));
        self.inner.changed.notify_all();
        let live = state.live.len() + state.finished.len() + state.failed;
        state.table.trim(live)?;
        Ok(job)
    }

    /// Keeps a finished job, durably, and lets go of what is beyond the retention.
    fn settle(&self, state: &mut State, job: Job) -> Result<()> {
        state.table.keep(&job)?;
        state.live.remove(&job.sequence);
        state.count_finished(&job, &self.inner.options);
        if job.state == JobState::Succeeded {
            state.pace.learn(&job);
        }
        self.inner.observers.tell(&Event::State(job));
        while state.finished.len() > self.inner.options.max_finished {
            let Some(oldest) = state.finished.pop_first() else { break };
            state.table.forget(oldest)?;
        }
        let jobs = state.live.len() + state.finished.len() + state.failed;
        state.table.trim(jobs)
    }
}

impl State {
    /// The oldest job of the highest priority that may start now.
    fn next(&self, kinds: &[&str], now: Timestamp) -> Option<u64> {
        let ready = self.of(kinds).filter(|job| job.may_start(now));
        ready.min_by_key(|job| (std::cmp::Reverse(job.priority), job.sequence)).map(|job| job.sequence)
    }

    /// When the first of those that wait for their time may start.
    fn next_may_start(&self, kinds: &[&str], now: Timestamp) -> Option<Instant> {
        let waiting = self.of(kinds).filter(|job| job.state == JobState::Queued);
        let at = waiting.filter_map(|job| job.not_before).min()?;
        Instant::now().checked_add(Duration::from_millis(at.0.saturating_sub(now.0)))
    }

    fn of(&self, kinds: &[&str]) -> impl Iterator<Item = &Job> {
        let jobs = self.live.values().map(|live| &live.job);
        jobs.filter(move |job| kinds.is_empty() || kinds.contains(&job.kind.as_str()))
    }

    fn count_finished(&mut self, job: &Job, options: &QueueOptions) {
        match options.lets_go_of(job) {
            true => drop(self.finished.insert(job.sequence)),
            false => self.failed = self.failed.saturating_add(1),
        }
    }

    fn uncount_finished(&mut self, job: &Job, options: &QueueOptions) {
        match job.state.is_finished() && !options.lets_go_of(job) {
            true => self.failed = self.failed.saturating_sub(1),
            false => drop(self.finished.remove(&job.sequence)),
        }
    }

    fn job(&self, id: JobId) -> Result<Option<Job>> {
        let Some(sequence) = self.table.sequence(id)? else { return Ok(None) };
        match self.live.get(&sequence) {
            Some(live) => Ok(Some(live.job.clone())),
            None => self.table.at(sequence),
        }
    }
}

fn end_stage(live: &mut Live, now: Timestamp) {
    if let Some(stage) = live.job.stage.take() {
        let seconds = now.seconds_since(live.stage_started);
        live.job.stages.push(StageTiming { stage, started_at: live.stage_started, seconds });
    }
}

/// What a job is after the process that ran it ended.
fn resumed(job: Job, options: &QueueOptions, now: Timestamp) -> Job {
    if job.state != JobState::Running {
        return job;
    }
    if job.cancel_requested || job.attempts >= options.max_attempts {
        let failure = JobFailure {
            code: "interrupted".to_owned(),
            message: format!("The server ended {} times while this job ran.", job.attempts),
            what_to_do: "Look in the server's log for why it ended; then start the job again.".to_owned(),
        };
        return job.ended(Err(failure), now);
    }
    job.requeued()
}
