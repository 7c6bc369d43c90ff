//! What a job is.

use crate::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Names a job, for ever and everywhere.
pub type JobId = uuid::Uuid;

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Waits for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// It ended well; [`Job::result`] says how.
    Succeeded,
    /// It ended badly; [`Job::error`] says why.
    Failed,
    /// It was cancelled, before or while it ran.
    Cancelled,
}

impl JobState {
    /// Whether it will never change again.
    pub fn is_finished(self) -> bool {
        !matches!(self, JobState::Queued | JobState::Running)
    }
}

/// How much of the current stage is done, in the worker's own units (slices, objects).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all; 0 where unknown.
    pub total: u64,
}

/// How long one stage took. The same stage may come several times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageTiming {
    /// The worker's name for it.
    pub stage: String,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// Why a job failed, in the shape of every error of the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobFailure {
    /// A stable word for programs: `no_exemplars`.
    pub code: String,
    /// What happened, for people.
    pub message: String,
    /// What the reader can do about it.
    pub what_to_do: String,
}

/// A job as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// The order in which jobs came: later ones have larger numbers.
    pub sequence: u64,
    /// What sort of job: workers claim by it.
    pub kind: String,
    /// What to do: the caller's.
    pub payload: Value,
    /// Where it stands.
    pub state: JobState,
    /// Whether someone asked to cancel it.
    pub cancel_requested: bool,
    /// How often a worker has claimed it.
    pub attempts: u32,
    /// Jobs of a higher one are claimed first.
    #[serde(default)]
    pub priority: i32,
    /// Nobody claims it before.
    #[serde(default)]
    pub not_before: Option<Timestamp>,
    /// The stage it is in, while it runs.
    pub stage: Option<String>,
    /// How far that stage is.
    pub progress: Progress,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// When its last attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The stages of the last attempt that are over, in order.
    pub stages: Vec<StageTiming>,
    /// Seconds until it ends, as far as its pace and the last job of its kind tell; `None` where they tell nothing.
    pub seconds_left: Option<f64>,
    /// Why it failed; of a job that waits to be tried again, why it failed last.
    pub error: Option<JobFailure>,
    /// What it made: the caller's.
    pub result: Option<Value>,
}

impl Job {
    /// A job that waits.
    pub(crate) fn new(new: NewJob, sequence: u64, created_at: Timestamp) -> Self {
        Job {
            id: new.id,
            sequence,
            kind: new.kind,
            payload: new.payload,
            state: JobState::Queued,
            cancel_requested: false,
            attempts: 0,
            priority: new.priority,
            not_before: new.not_before,
            stage: None,
            progress: Progress::default(),
            created_at,
            started_at: None,
            finished_at: None,
            stages: Vec::new(),
            seconds_left: None,
            error: None,
            result: None,
        }
    }

    /// The job as it ends.
    pub(crate) fn ended(&self, outcome: Result<Value, JobFailure>, now: Timestamp) -> Self {
        let (state, error, result) = match outcome {
            Ok(result) => (JobState::Succeeded, None, Some(result)),
            Err(_) if self.cancel_requested => (JobState::Cancelled, None, None),
            Err(error) => (JobState::Failed, Some(error), None),
        };
        Job { state, error, result, stage: None, seconds_left: None, finished_at: Some(now), ..self.clone() }
    }

    /// The job as it waits again.
    pub(crate) fn requeued(&self) -> Self {
        Job {
            state: JobState::Queued,
            stage: None,
            progress: Progress::default(),
            stages: Vec::new(),
            seconds_left: None,
            started_at: None,
            ..self.clone()
        }
    }

    /// The job as it is tried again later, with what is then left to do.
    pub(crate) fn retried(&self, later: Retry) -> Self {
        let Retry { payload, failure, not_before } = later;
        Job { payload, error: Some(failure), not_before: Some(not_before), ..self.requeued() }
    }

    /// The job as if it came now.
    pub(crate) fn anew(&self, now: Timestamp) -> Self {
        Job {
            created_at: now,
            attempts: 0,
            cancel_requested: false,
            not_before: None,
            finished_at: None,
            ..self.requeued()
        }
    }

    pub(crate) fn may_start(&self, now: Timestamp) -> bool {
        self.state == JobState::Queued && self.not_before.is_none_or(|at| at <= now)
    }
}

/// How a job that failed for now is tried again.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// What is left to do.
    pub payload: Value,
    /// Why it failed.
    pub failure: JobFailure,
    /// When to try again.
    pub not_before: Timestamp,
}

/// A job to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct NewJob {
    /// Its name; a random (version 4) UUID by [`NewJob::new`].
    pub id: JobId,
    /// What sort of job.
    pub kind: String,
    /// What to do.
    pub payload: Value,
    /// Jobs of a higher one are claimed first.
    pub priority: i32,
    /// Nobody claims it before.
    pub not_before: Option<Timestamp>,
}

impl NewJob {
    /// A job of this kind under a new id, to be started as soon as can be.
    pub fn new(kind: impl Into<String>, payload: Value) -> Self {
        NewJob { id: JobId::new_v4(), kind: kind.into(), payload, priority: 0, not_before: None }
    }
}

/// Which jobs to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only in one of these states; empty means any.
    pub states: Vec<JobState>,
    /// At most so many; 0 means no limit.
    pub limit: usize,
}

impl JobFilter {
    pub(crate) fn takes(&self, job: &Job) -> bool {
        self.kind.as_ref().is_none_or(|kind| *kind == job.kind)
            && (self.states.is_empty() || self.states.contains(&job.state))
    }
}
