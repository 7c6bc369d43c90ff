//! When to try again.

use std::time::Duration;

use engram_jobs::{Job, Timestamp};

/// What an operator may set about what leaves the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxOptions {
    /// The time to the second attempt; it doubles with each further one.
    pub first_retry: Duration,
    /// The longest time between attempts.
    pub longest_retry: Duration,
    /// The age at which something that fails is given up.
    pub give_up_after: Duration,
}

impl OutboxOptions {
    /// When a job that has just failed is tried again; none: it is too old.
    pub(crate) fn next_attempt(&self, job: &Job, now: Timestamp) -> Option<Timestamp> {
        let age = Duration::from_millis(now.0.saturating_sub(job.created_at.0));
        if age >= self.give_up_after {
            return None;
        }
        let doubled = 2u32.saturating_pow(job.attempts.saturating_sub(1));
        let wait = self.first_retry.saturating_mul(doubled).min(self.longest_retry);
        Some(Timestamp(now.0.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_end_with_age() {
        let seconds = Duration::from_secs;
        let options = OutboxOptions {
            first_retry: seconds(5),
            longest_retry: seconds(60),
            give_up_after: seconds(3600),
        };
        let job = |attempts: u32| -> Job {
            serde_json::from_value(serde_json::json!({
                "id": uuid::Uuid::nil(), "sequence": 0, "kind": "node:PACS", "payload": null, "state": "running",
                "cancel_requested": false, "attempts": attempts, "stage": null, "progress": {"done": 0, "total": 0},
                "created_at": 1000, "started_at": null, "finished_at": null, "stages": [], "seconds_left": null,
                "error": null, "result": null,
            }))
            .unwrap()
        };
        let next =
            |attempts: u32, now: u64| options.next_attempt(&job(attempts), Timestamp(now)).map(|at| at.0);
        assert_eq!(next(1, 2_000), Some(7_000));
        assert_eq!(next(3, 2_000), Some(22_000));
        assert_eq!(next(5, 2_000), Some(62_000));
        assert_eq!(next(u32::MAX, 2_000), Some(62_000));
        assert_eq!(next(2, 3_601_000), None);
    }
}
