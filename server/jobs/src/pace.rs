//! How long a job still takes, as far as it can be told.

use crate::{Job, StageTiming, Timestamp};
use std::collections::HashMap;

/// The stages of the last job of each kind that succeeded.
#[derive(Default)]
pub(crate) struct Pace {
    by_kind: HashMap<String, Vec<StageTiming>>,
}

impl Pace {
    /// Learns from a job that succeeded.
    pub(crate) fn learn(&mut self, job: &Job) {
        self.by_kind.insert(job.kind.clone(), job.stages.clone());
    }

    /// Seconds until a running job ends: the rest of its stage by the stage's own pace, or by the last
    /// job's if it has none yet, and the stages after it as the last job took them.
    pub(crate) fn seconds_left(&self, job: &Job, stage_started: Timestamp, now: Timestamp) -> Option<f64> {
        let stage = job.stage.as_ref()?;
        let last = self.by_kind.get(&job.kind).map(Vec::as_slice).unwrap_or_default();
        // Only where the job goes the last one's way does what follows tell anything.
        let same = last.get(job.stages.len()).filter(|timing| timing.stage == *stage);
        let after: f64 = match same {
            Some(_) => last.iter().skip(job.stages.len() + 1).map(|timing| timing.seconds).sum(),
            None => 0.0,
        };
        let elapsed = now.seconds_since(stage_started);
        let (done, total) = (job.progress.done as f64, job.progress.total as f64);
        let rest = if done > 0.0 && total > 0.0 {
            elapsed * (total - done).max(0.0) / done
        } else {
            (same?.seconds - elapsed).max(0.0)
        };
        Some(rest + after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NewJob, Progress};

    fn job(stages: &[(&str, f64)], stage: &str, done: u64, total: u64) -> Job {
        let timing = |(stage, seconds): &(&str, f64)| StageTiming {
            stage: (*stage).to_owned(),
            started_at: Timestamp(0),
            seconds: *seconds,
        };
        Job {
            stages: stages.iter().map(timing).collect(),
            stage: Some(stage.to_owned()),
            progress: Progress { done, total },
            ..Job::new(NewJob::new("k", serde_json::Value::Null), 0, Timestamp(0))
        }
    }

    #[test]
    fn the_rest_of_the_stage_and_the_stages_after_it() {
        let mut pace = Pace::default();
        let left = |pace: &Pace, job: &Job| pace.seconds_left(job, Timestamp(0), Timestamp(2000));
        assert_eq!(left(&pace, &job(&[], "a", 0, 4)), None);
        assert_eq!(left(&pace, &job(&[], "a", 1, 4)), Some(6.0));
        pace.learn(&job(&[("a", 5.0), ("b", 7.0)], "b", 0, 0));
        assert_eq!(left(&pace, &job(&[], "a", 0, 4)), Some(10.0));
        assert_eq!(left(&pace, &job(&[], "a", 1, 4)), Some(13.0));
        assert_eq!(left(&pace, &job(&[("a", 4.0)], "b", 0, 0)), Some(5.0));
        assert_eq!(left(&pace, &job(&[("a", 4.0)], "other", 1, 2)), Some(2.0));
    }
}
