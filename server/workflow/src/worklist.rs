//! Segmentations as workitems (UPS): what worklist clients file here is performed, and what is asked for elsewhere is shown.
//!
//! A workitem that asks for a segmentation is claimed once it is due and its input READY; its job has an id that follows
//! from the workitem's UID, so that a restart makes no second one. Every other segmentation job has a workitem of its own,
//! whose UID follows from the job's id. Jobs are the truth of what is done: a thread carries their states and progress to
//! the workitems, and wishes to cancel back.

mod asked;
mod inbox;
mod shown;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use dicom_dictionary_std::tags;
use engram_jobs::{
    Clock, Error as QueueError, Event, Job, JobFilter, JobId, JobState, NewJob, Observation, SystemClock,
};
use engram_worklist::{Asked, Attributes, CancelRequest, Mine, Performer, Worklist, parse_moment, text};
use snafu::ResultExt;
use time::OffsetDateTime;

use crate::error::{
    ArchiveSnafu, JsonSnafu, QueueSnafu, Result, StartWorkerSnafu, WorklistSnafu, failure, report,
};
use crate::request::{FixedUids, SegmentationJob};
use crate::{Error, ROUTED_KIND, SEGMENTATION_KIND, Workflow};

use inbox::Inbox;
pub use shown::Station;

/// Kinds of the jobs that workitems show.
const SHOWN: [&str; 2] = [SEGMENTATION_KIND, ROUTED_KIND];
/// How often start times are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// The least time between two looks at jobs: nobody needs to hear of progress more often.
const PACE: Duration = Duration::from_millis(250);

/// The worklist, and what its thread has to do.
pub(crate) struct Desk {
    worklist: Worklist,
    station: Station,
    inbox: Arc<Inbox>,
}

impl Desk {
    pub(crate) fn new(worklist: Worklist, station: Station) -> Self {
        Self { worklist, station, inbox: Arc::default() }
    }
}

/// The job that performs a workitem.
fn job_of_workitem(uid: &str) -> JobId {
    JobId::new_v5(&JobId::NAMESPACE_OID, uid.as_bytes())
}

/// The workitem that shows a job.
fn workitem_of_job(id: JobId) -> String {
    format!("2.25.{}", id.as_u128())
}

/// The job that such a workitem shows.
fn shown_job(uid: &str) -> Option<JobId> {
    uid.strip_prefix("2.25.")?.parse().ok().map(JobId::from_u128)
}

fn payload_of(job: &Job) -> Result<SegmentationJob> {
    serde_json::from_value(job.payload.clone()).context(JsonSnafu { what: "a segmentation job" })
}

impl Performer for Workflow {
    fn takes(&self, attributes: &Attributes) -> Result<bool, String> {
        if !asked::is_for(attributes, &self.desk.station.name) {
            return Ok(false);
        }
        let request = asked::request_of(attributes)?;
        // What is not READY may still arrive.
        if is_ready(attributes) {
            self.check_request(&request).map_err(|error| report(&error))?;
        }
        Ok(true)
    }

    fn wake(&self) {
        self.desk.inbox.wake();
    }
}

fn is_ready(attributes: &Attributes) -> bool {
    text(attributes, tags::INPUT_READINESS_STATE) == Some("READY")
}

/// Whether the start has come. What has none that reads is late already.
fn is_due(attributes: &Attributes, now: OffsetDateTime) -> bool {
    let offset = text(attributes, tags::TIMEZONE_OFFSET_FROM_UTC);
    let start = text(attributes, tags::SCHEDULED_PROCEDURE_STEP_START_DATE_TIME);
    start.and_then(|start| parse_moment(start, offset)).is_none_or(|start| start <= now)
}

/// Starts the thread that performs workitems.
pub(crate) fn start(workflow: &Arc<Workflow>, stop: &Arc<AtomicBool>) -> Result<JoinHandle<()>> {
    let performer: Arc<dyn Performer> = Arc::clone(workflow) as Arc<dyn Performer>;
    workflow.desk.worklist.perform_by(Arc::downgrade(&performer)).context(WorklistSnafu)?;
    let (workflow, stop) = (Arc::clone(workflow), Arc::clone(stop));
    let work = move || {
        let mut watched = Watched::default();
        tell(workflow.resume_workitems(), "could not go on with the worklist");
        while !stop.load(Ordering::Acquire) {
            workflow.attend(&mut watched);
            std::thread::sleep(PACE);
        }
    };
    std::thread::Builder::new().name("worklist".into()).spawn(work).context(StartWorkerSnafu)
}

/// Jobs that are watched.
#[derive(Default)]
struct Watched {
    jobs: BTreeMap<JobId, (Observation, u8)>,
}

impl Workflow {
    /// Shows a job that was just asked for as a workitem. That this fails stops no job.
    pub(crate) fn show_job(&self, job: &Job) {
        tell(self.try_to_show(job), "could not show a job in the worklist");
        self.desk.inbox.watch(job.id);
    }

    fn try_to_show(&self, job: &Job) -> Result<()> {
        let payload = payload_of(job)?;
        if payload.workitem.is_some() {
            return Ok(());
        }
        let study = self.archive.study(&payload.request.study).context(ArchiveSnafu)?;
        let workitem = shown::workitem(job, &payload, study.as_ref(), &self.desk.station);
        self.desk.worklist.show(&workitem_of_job(job.id), workitem).context(WorklistSnafu)
    }

    /// Takes up what an earlier process left: jobs that have no workitem yet, and workitems whose jobs went on or were
    /// never made.
    fn resume_workitems(&self) -> Result<()> {
        for kind in SHOWN {
            let states = vec![JobState::Queued, JobState::Running];
            let filter = JobFilter { kind: Some(kind.to_owned()), states, limit: 0 };
            for job in self.queue.list(&filter).context(QueueSnafu)?.iter().rev() {
                self.show_job(job);
            }
        }
        for mine in self.desk.worklist.mine().context(WorklistSnafu)? {
            tell(self.resume_workitem(mine), "could not go on with a workitem");
        }
        Ok(())
    }

    fn resume_workitem(&self, mine: Mine) -> Result<()> {
        let id = if mine.shown { shown_job(&mine.uid) } else { Some(job_of_workitem(&mine.uid)) };
        if let Some(job) = id.map(|id| self.job(id)).transpose()?.flatten() {
            self.desk.inbox.watch(job.id);
            return Ok(());
        }
        match mine.shown {
            true => {
                let why = shown::refused("lost", "The job is no longer known.".to_owned());
                self.desk.worklist.discontinue(&mine.uid, why).context(WorklistSnafu)
            }
            // It was claimed, and the process ended before there was a job.
            false => self.perform(&mine.uid, &mine.attributes),
        }
    }

    /// Takes what came, and looks what is due.
    fn attend(&self, watched: &mut Watched) {
        let pending = self.desk.inbox.take(LOOK);
        for id in pending.new {
            tell(self.watch(id, watched), "could not watch a job");
        }
        for job in pending.jobs.into_values() {
            tell(self.follow(&job, watched), "could not carry a job's state to its workitem");
        }
        tell(self.begin_what_is_due(), "could not look at the worklist");
        tell(self.cancel_what_is_not_wanted(), "could not pass on a request to cancel");
    }

    fn watch(&self, id: JobId, watched: &mut Watched) -> Result<()> {
        let inbox = Arc::clone(&self.desk.inbox);
        let put = move |event: &Event| inbox.put(event.job());
        if let Some(observation) = self.queue.observe(id, Box::new(put)).context(QueueSnafu)? {
            watched.jobs.insert(id, (observation, 0));
        }
        Ok(())
    }

    /// Makes the workitem stand where the job stands.
    fn follow(&self, job: &Job, watched: &mut Watched) -> Result<()> {
        let uid = payload_of(job)?.workitem.unwrap_or_else(|| workitem_of_job(job.id));
        let worklist = &self.desk.worklist;
        match job.state {
            JobState::Queued => return Ok(()),
            JobState::Running => {
                worklist.begin(&uid).context(WorklistSnafu)?;
                let (percent, stage) = shown::progress(job, SystemClock.now());
                if let Some((_, told)) = watched.jobs.get_mut(&job.id)
                    && percent > *told
                {
                    *told = percent;
                    worklist.progress(&uid, percent, stage).context(WorklistSnafu)?;
                }
                return Ok(());
            }
            JobState::Succeeded => {
                worklist.begin(&uid).context(WorklistSnafu)?;
                worklist.complete(&uid, shown::performed(job, &self.desk.station)).context(WorklistSnafu)?;
            }
            JobState::Failed | JobState::Cancelled => {
                let asked = self.wish_to_cancel(&uid)?;
                worklist.discontinue(&uid, shown::discontinued(job, asked)).context(WorklistSnafu)?;
            }
        }
        watched.jobs.remove(&job.id);
        Ok(())
    }

    fn wish_to_cancel(&self, uid: &str) -> Result<Option<CancelRequest>> {
        let wishes = self.desk.worklist.to_cancel().context(WorklistSnafu)?;
        Ok(wishes.into_iter().find(|wish| wish.uid == uid).map(|wish| wish.request))
    }

    fn begin_what_is_due(&self) -> Result<()> {
        let now = OffsetDateTime::now_utc();
        for Asked { uid, attributes } in self.desk.worklist.asked().context(WorklistSnafu)? {
            if is_ready(&attributes) && is_due(&attributes, now) {
                tell(self.claim(&uid, &attributes), "could not begin a workitem");
            }
        }
        Ok(())
    }

    fn claim(&self, uid: &str, attributes: &Attributes) -> Result<()> {
        match self.desk.worklist.begin(uid).context(WorklistSnafu)? {
            true => self.perform(uid, attributes),
            false => Ok(()),
        }
    }

    /// Makes the job of a workitem that is claimed; where it cannot be done, gives the workitem up.
    fn perform(&self, uid: &str, attributes: &Attributes) -> Result<()> {
        let why = match self.job_for(uid, attributes) {
            Ok(id) => {
                self.desk.inbox.watch(id);
                return Ok(());
            }
            Err(error) => {
                let failure = failure(&error);
                shown::refused(&failure.code, format!("{} {}", failure.message, failure.what_to_do))
            }
        };
        self.desk.worklist.discontinue(uid, why).context(WorklistSnafu)
    }

    fn job_for(&self, uid: &str, attributes: &Attributes) -> Result<JobId> {
        let request = asked::request_of(attributes).map_err(|reason| Error::BadRequest { reason })?;
        self.check_request(&request)?;
        let job = SegmentationJob {
            request,
            uids: FixedUids::fresh(),
            workitem: Some(uid.to_owned()),
            route: None,
        };
        let payload = serde_json::to_value(&job).context(JsonSnafu { what: "a segmentation job" })?;
        let id = job_of_workitem(uid);
        match self.queue.enqueue(NewJob { id, ..NewJob::new(SEGMENTATION_KIND, payload) }) {
            Ok(_) | Err(QueueError::Exists { .. }) => Ok(id),
            Err(error) => Err(error).context(QueueSnafu),
        }
    }

    fn cancel_what_is_not_wanted(&self) -> Result<()> {
        for wish in self.desk.worklist.to_cancel().context(WorklistSnafu)? {
            let id = if wish.shown { shown_job(&wish.uid) } else { Some(job_of_workitem(&wish.uid)) };
            let Some(id) = id else { continue };
            let is_asked = self.job(id)?.is_some_and(|job| job.cancel_requested || job.state.is_finished());
            if !is_asked {
                self.cancel(id)?;
            }
        }
        Ok(())
    }
}

fn tell(outcome: Result<()>, what: &str) {
    if let Err(error) = outcome {
        tracing::error!(error = %report(&error), "{what}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn jobs_and_workitems_find_each_other() {
        let id = JobId::new_v4();
        assert_eq!(shown_job(&workitem_of_job(id)), Some(id));
        assert_eq!(job_of_workitem("1.2.3"), job_of_workitem("1.2.3"));
        assert_ne!(job_of_workitem("1.2.3"), job_of_workitem("1.2.4"));
        for other in ["1.2.3", "2.25.", "2.25.x", "2.25.999999999999999999999999999999999999999999"] {
            assert_eq!(shown_job(other), None, "{other}");
        }
    }

    #[test]
    fn a_start_is_due_when_it_has_come() {
        let now = OffsetDateTime::from_unix_timestamp(1_704_110_400).unwrap();
        for (start, offset, due) in [
            ("20240101115959", None, true),
            ("20240101120001", None, false),
            ("20240101130000+0100", None, true),
            ("20240101130001", Some("+0100"), false),
        ] {
            let mut workitem = json!({"00404005": {"vr": "DT", "Value": [start]}});
            if let Some(offset) = offset {
                workitem["00080201"] = json!({"vr": "SH", "Value": [offset]});
            }
            assert_eq!(is_due(workitem.as_object().unwrap(), now), due, "{start}");
        }
    }
}
