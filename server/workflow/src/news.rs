//! What happens in the house, told to those who listen: a stream while they do, webhooks until they have heard it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engram_jobs::{Job, JobFailure, JobId, JobState, Timestamp};
use engram_routing::Origin;
use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::outbox::{Content, Delivery, Hook};
use crate::request::SegmentationJob;
use crate::routing::RoutingJob;
use crate::{Workflow, report};

/// Items that a listener who comes late, or comes back, can still hear.
const REMEMBERED: usize = 1024;

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum News {
    /// A study has been quiet for as long as a rule waits; its rules are asked now.
    StudyComplete {
        /// StudyInstanceUID.
        study: String,
        /// Where it came from.
        origin: Origin,
        /// How long it was quiet.
        quiet_seconds: u64,
    },
    /// A segmentation job ended.
    SegmentationEnded {
        /// Its id.
        #[schema(value_type = String)]
        job: JobId,
        /// How it ended.
        state: JobState,
        /// StudyInstanceUID.
        study: String,
        /// SeriesInstanceUID of the target.
        series: String,
        /// Names of the rules that asked for it; empty: a person did.
        rules: Vec<String>,
        /// SOPInstanceUID of the stored SEG.
        segmentation: Option<String>,
        /// Why it failed.
        error: Option<JobFailure>,
    },
    /// A node has taken a delivery, or it is given up.
    DeliveryEnded {
        /// The delivery's id.
        #[schema(value_type = String)]
        delivery: JobId,
        /// The node's name.
        node: String,
        /// How it ended.
        state: JobState,
        /// StudyInstanceUID.
        study: String,
        /// SOPInstanceUID of the SEG whose result it carries.
        segmentation: Option<String>,
        /// Why it was given up.
        error: Option<JobFailure>,
    },
}

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // as `News` has them
pub enum NewsKind {
    StudyComplete,
    SegmentationEnded,
    DeliveryEnded,
}

/// An item of news.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Item {
    /// Larger than that of every item before.
    pub number: u64,
    /// When it happened, milliseconds since 1970.
    #[schema(value_type = u64)]
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub news: News,
}

impl News {
    /// Which of them it is.
    pub fn kind(&self) -> NewsKind {
        match self {
            Self::StudyComplete { .. } => NewsKind::StudyComplete,
            Self::SegmentationEnded { .. } => NewsKind::SegmentationEnded,
            Self::DeliveryEnded { .. } => NewsKind::DeliveryEnded,
        }
    }

    pub(crate) fn study_complete(routing: &RoutingJob) -> Self {
        let RoutingJob { study, quiet_seconds, origin } = routing.clone();
        Self::StudyComplete { study, origin, quiet_seconds }
    }

    pub(crate) fn segmentation_ended(
        claimed: &Job,
        job: SegmentationJob,
        outcome: &Result<Value, JobFailure>,
    ) -> Self {
        let SegmentationJob { request, uids, route, .. } = job;
        Self::SegmentationEnded {
            job: claimed.id,
            state: state_of(outcome),
            study: request.study,
            series: request.series,
            rules: route.map(|route| route.rules).unwrap_or_default(),
            segmentation: (outcome.is_ok() && request.store).then_some(uids.sop_instance_uid),
            error: outcome.as_ref().err().cloned(),
        }
    }

    pub(crate) fn delivery_ended(
        id: JobId,
        delivery: &Delivery,
        outcome: &Result<Value, JobFailure>,
    ) -> Self {
        let segmentation = match &delivery.content {
            Content::Result { segmentation, .. } => Some(segmentation.clone()),
            Content::Series { .. } => None,
        };
        Self::DeliveryEnded {
            delivery: id,
            node: delivery.node.clone(),
            state: state_of(outcome),
            study: delivery.study.clone(),
            segmentation,
            error: outcome.as_ref().err().cloned(),
        }
    }
}

fn state_of(outcome: &Result<Value, JobFailure>) -> JobState {
    match outcome {
        Ok(_) => JobState::Succeeded,
        Err(failure) if failure.code == "cancelled" => JobState::Cancelled,
        Err(_) => JobState::Failed,
    }
}

/// The latest items, and who waits for the next.
#[derive(Default)]
pub(crate) struct Board {
    items: Mutex<VecDeque<Arc<Item>>>,
    changed: Condvar,
}

impl Board {
    fn put(&self, at: Timestamp, news: News) -> Arc<Item> {
        let mut items = self.items.lock();
        // By the clock, so that numbers grow across a restart as well.
        let number = items.back().map_or(at.0, |last| at.0.max(last.number.saturating_add(1)));
        let item = Arc::new(Item { number, at, news });
        if items.len() == REMEMBERED {
            items.pop_front();
        }
        items.push_back(Arc::clone(&item));
        self.changed.notify_all();
        item
    }

    fn latest(&self) -> u64 {
        self.items.lock().back().map_or(0, |item| item.number)
    }

    /// Remembered items after this one, as soon as there are any; none where none came in time.
    fn after(&self, number: u64, timeout: Duration) -> Vec<Arc<Item>> {
        let deadline = Instant::now() + timeout;
        let mut items = self.items.lock();
        loop {
            let start = items.partition_point(|item| item.number <= number);
            if start < items.len() || self.changed.wait_until(&mut items, deadline).timed_out() {
                return items.iter().skip(start).cloned().collect();
            }
        }
    }
}

impl Workflow {
    /// Tells the news to those who listen, and has each webhook that wants it called. `about` is the job that it is
    /// news of, so that a job done twice is told once.
    pub(crate) fn announce(&self, about: JobId, news: News) {
        let item = self.board.put(self.queue.now(), news);
        for hook in self.hooks.iter().filter(|hook| hook.wants(item.news.kind())) {
            if let Err(error) = self.post_news(hook.as_ref(), about, &item) {
                tracing::error!(hook = hook.name(), error = %report(&error), "could not keep news for a webhook");
            }
        }
    }

    pub(crate) fn hooks_want_studies(&self) -> bool {
        self.hooks.iter().any(|hook: &Arc<dyn Hook>| hook.wants(NewsKind::StudyComplete))
    }

    /// The number of the last item of news.
    pub fn latest_news(&self) -> u64 {
        self.board.latest()
    }

    /// News after the item of that number, of the last 1024, as soon as there is any; none where none came in time.
    pub fn news_after(&self, number: u64, timeout: Duration) -> Vec<Arc<Item>> {
        self.board.after(number, timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engram_routing::Source;

    fn news(study: &str) -> News {
        let origin = Origin { source: Source::Dimse, calling_ae_title: None };
        News::StudyComplete { study: study.into(), origin, quiet_seconds: 1 }
    }

    #[test]
    fn a_listener_hears_what_came_after_and_no_more_than_is_remembered() {
        let board = Board::default();
        assert!(board.after(0, Duration::ZERO).is_empty());
        let first = board.put(Timestamp(1_000), news("1")).number;
        let second = board.put(Timestamp(1_000), news("2")).number;
        assert_eq!((first, second), (1_000, 1_001));
        let heard = board.after(first, Duration::ZERO);
        assert_eq!(heard.iter().map(|item| item.number).collect::<Vec<_>>(), [second]);
        for _ in 0..REMEMBERED {
            board.put(Timestamp(5), news("3"));
        }
        assert_eq!(board.after(0, Duration::ZERO).len(), REMEMBERED);
        assert!(board.after(board.latest(), Duration::from_millis(1)).is_empty());
    }
}
