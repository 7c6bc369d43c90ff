//! A durable queue of jobs with progress, cancellation and restart after a crash. Never knows what a job does.
//!
//! A job is a kind and a payload, both the caller's. [`Queue::enqueue`] returns when the job is synced to the
//! queue's journal; a worker [claims](Queue::claim) it, reports stages and progress, looks at its
//! [`CancelToken`], and [finishes](Claimed::finish) it, or has it [tried again](Claimed::retry) later. A job that was running when the process ended is queued
//! again on opening, until its attempts are used up.
//!
//! The journal is the truth (primary state); the sled tree is derived from it on opening and serves finished
//! jobs, so that memory holds only those waiting and running.
//!
//! # Example
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use engram_jobs::{NewJob, Queue, QueueOptions};
//! use std::{path::Path, sync::Arc, time::Duration};
//!
//! let db = sled::open("data/db")?;
//! let queue = Queue::open(db.open_tree("jobs")?, Path::new("data/jobs.journal"), QueueOptions::default())?;
//! let job = queue.enqueue(NewJob::new("segmentation", serde_json::json!({"series": "1.2.3"})))?;
//! if let Some(claimed) = queue.claim(&["segmentation"], Duration::from_secs(1)) {
//!     claimed.stage("retrieval", 36);
//!     claimed.progress(36);
//!     claimed.finish(Ok(serde_json::json!({"seg": "1.2.4"})))?;
//! }
//! assert!(queue.get(job.id)?.is_some_and(|job| job.state.is_finished()));
//! # Ok(()) }
//! ```

mod claim;
mod clock;
mod error;
mod events;
mod job;
mod options;
mod pace;
mod queue;
mod table;

pub use claim::{CancelToken, Claimed};
pub use clock::{Clock, SystemClock, Timestamp};
pub use error::{Error, Result};
pub use events::{Event, Observation, Observer, Subscription};
pub use job::{Job, JobFailure, JobFilter, JobId, JobState, NewJob, Progress, Retry, StageTiming};
pub use options::QueueOptions;
pub use queue::{CancelOutcome, Queue};
