//! The queue as its callers use it.
#![allow(clippy::unwrap_used)]

use engram_jobs::{
    CancelOutcome, Clock, Error, Event, JobFailure, JobFilter, JobState, NewJob, Queue, QueueOptions, Retry,
    Timestamp,
};
use serde_json::json;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

#[derive(Default)]
struct TestClock(AtomicU64);

impl TestClock {
    fn pass(&self, milliseconds: u64) {
        self.0.fetch_add(milliseconds, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

/// Opens the database. One that was open before may be locked for a moment yet: threads of its own still let go of it.
fn database(folder: &Path) -> sled::Db {
    for _ in 0..100 {
        match sled::open(folder.join("db")) {
            Err(sled::Error::Io(_)) => thread::sleep(Duration::from_millis(50)),
            opened => return opened.unwrap(),
        }
    }
    sled::open(folder.join("db")).unwrap()
}

fn open(folder: &Path, options: QueueOptions) -> Queue {
    let db = database(folder);
    Queue::open(db.open_tree("jobs").unwrap(), &folder.join("jobs.journal"), options).unwrap()
}

fn failure() -> JobFailure {
    JobFailure { code: "x".to_owned(), message: "It broke.".to_owned(), what_to_do: "Mend it.".to_owned() }
}

#[test]
fn a_job_goes_its_way_and_is_timed() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock::default());
    let queue = open(folder.path(), QueueOptions { clock: clock.clone(), ..QueueOptions::default() });
    let id = queue.enqueue(NewJob::new("a", json!({"n": 1}))).unwrap().id;
    assert!(queue.claim(&["b"], Duration::ZERO).is_none());
    let watch = queue.subscribe(id).unwrap().unwrap();
    clock.pass(500);
    let claimed = queue.claim(&["b", "a"], Duration::ZERO).unwrap();
    claimed.stage("first", 4);
    clock.pass(1000);
    claimed.progress(1);
    assert_eq!(queue.get(id).unwrap().unwrap().seconds_left, Some(3.0));
    claimed.progress(2);
    clock.pass(1000);
    claimed.stage("second", 0);
    clock.pass(250);
    let job = claimed.finish(Ok(json!("made"))).unwrap();
    assert_eq!((job.state, job.result.clone()), (JobState::Succeeded, Some(json!("made"))));
    let stages: Vec<_> = job.stages.iter().map(|stage| (stage.stage.as_str(), stage.seconds)).collect();
    assert_eq!(stages, [("first", 2.0), ("second", 0.25)]);
    assert_eq!((job.started_at, job.finished_at), (Some(Timestamp(500)), Some(Timestamp(2750))));
    let mut seen = Vec::new();
    while let Some(event) = watch.next(Duration::ZERO) {
        seen.push(match event {
            Event::State(job) => format!("{:?}", job.state),
            Event::Stage(job) => format!("stage {}", job.stage.unwrap()),
            Event::Progress(job) => format!("progress {}", job.progress.done),
        });
    }
    assert!(watch.is_over());
    assert_eq!(seen, ["Queued", "Running", "stage first", "progress 2", "stage second", "Succeeded"]);
    assert_eq!(queue.get(id).unwrap().unwrap(), job);
    assert!(queue.subscribe(NewJob::new("a", json!(0)).id).unwrap().is_none());
}

#[test]
fn claims_wait_for_jobs_and_closing_wakes_them() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path(), QueueOptions::default());
    let worker = queue.clone();
    let worker = thread::spawn(move || {
        let claimed = worker.claim(&["a"], Duration::from_secs(60)).unwrap();
        claimed.finish(Err(failure())).unwrap();
        worker.claim(&["a"], Duration::from_secs(60)).is_none()
    });
    let id = queue.enqueue(NewJob::new("a", json!(null))).unwrap().id;
    let watch = queue.subscribe(id).unwrap().unwrap();
    while !watch.is_over() {
        watch.next(Duration::from_secs(60)).unwrap();
    }
    assert_eq!(queue.get(id).unwrap().unwrap().error, Some(failure()));
    queue.close();
    assert!(worker.join().unwrap());
}

#[test]
fn jobs_are_cancelled_before_and_while_they_run() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path(), QueueOptions::default());
    let [waiting, running, ignoring] =
        ["w", "r", "i"].map(|kind| queue.enqueue(NewJob::new(kind, json!(null))).unwrap().id);
    assert!(matches!(queue.cancel(waiting).unwrap(), Some(CancelOutcome::Cancelled(_))));
    assert!(queue.claim(&["w"], Duration::ZERO).is_none());
    let claimed = queue.claim(&["r"], Duration::ZERO).unwrap();
    let token = claimed.cancel_token();
    assert!(!token.is_cancelled());
    assert!(matches!(queue.cancel(running).unwrap(), Some(CancelOutcome::Asked(_))));
    assert!(token.is_cancelled());
    assert_eq!(claimed.finish(Err(failure())).unwrap().state, JobState::Cancelled);
    // A worker that was done before it looked has done its job.
    let claimed = queue.claim(&["i"], Duration::ZERO).unwrap();
    queue.cancel(ignoring).unwrap();
    assert_eq!(claimed.finish(Ok(json!(1))).unwrap().state, JobState::Succeeded);
    assert!(matches!(queue.cancel(ignoring).unwrap(), Some(CancelOutcome::AlreadyFinished(_))));
    assert_eq!(queue.cancel(NewJob::new("x", json!(null)).id).unwrap(), None);
}

#[test]
fn a_worker_that_panics_fails_its_job() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path(), QueueOptions::default());
    let id = queue.enqueue(NewJob::new("a", json!(null))).unwrap().id;
    let worker = queue.clone();
    let panicked = thread::spawn(move || {
        let _claimed = worker.claim(&[], Duration::ZERO).unwrap();
        panic!("on purpose");
    });
    assert!(panicked.join().is_err());
    let job = queue.get(id).unwrap().unwrap();
    assert_eq!((job.state, job.error.unwrap().code.as_str()), (JobState::Failed, "worker_ended"));
}

#[test]
fn what_ran_runs_again_after_a_restart_until_its_attempts_are_used_up() {
    let folder = tempfile::tempdir().unwrap();
    let options = QueueOptions { max_attempts: 2, ..QueueOptions::default() };
    let id = {
        let queue = open(folder.path(), options.clone());
        queue.enqueue(NewJob::new("a", json!({"keep": true}))).unwrap().id
    };
    for attempt in 1..=2 {
        let queue = open(folder.path(), options.clone());
        let claimed = queue.claim(&["a"], Duration::ZERO).unwrap();
        assert_eq!((claimed.job().attempts, claimed.job().payload.clone()), (attempt, json!({"keep": true})));
        claimed.stage("half", 2);
        // As if the process ended: nothing is settled.
        std::mem::forget(claimed);
        drop(queue);
        thread::sleep(Duration::from_millis(10));
        // The forgotten claim holds the database open, so that the next round reads the journal into another.
        std::fs::rename(folder.path().join("db"), folder.path().join(format!("db{attempt}"))).unwrap();
    }
    let queue = open(folder.path(), options);
    let job = queue.get(id).unwrap().unwrap();
    assert_eq!((job.state, job.error.unwrap().code.as_str()), (JobState::Failed, "interrupted"));
}

#[test]
fn a_job_put_back_keeps_its_attempts() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path(), QueueOptions::default());
    let id = queue.enqueue(NewJob::new("a", json!(null))).unwrap().id;
    queue.claim(&["a"], Duration::ZERO).unwrap().release().unwrap();
    let job = queue.get(id).unwrap().unwrap();
    assert_eq!((job.state, job.attempts, queue.depth()), (JobState::Queued, 0, (1, 0)));
}

#[test]
fn limits_hold_and_lists_filter() {
    let folder = tempfile::tempdir().unwrap();
    let options = QueueOptions { max_queued: 3, max_finished: 2, ..QueueOptions::default() };
    let mut ids = Vec::new();
    {
        let queue = open(folder.path(), options.clone());
        for number in 0..4 {
            let id = queue.enqueue(NewJob::new("a", json!(number))).unwrap().id;
            ids.push(id);
            queue.claim(&["a"], Duration::ZERO).unwrap().finish(Ok(json!(number))).unwrap();
        }
        assert_eq!(queue.get(ids[1]).unwrap(), None);
        for _ in 0..3 {
            ids.push(queue.enqueue(NewJob::new("b", json!(null))).unwrap().id);
        }
        assert!(matches!(queue.enqueue(NewJob::new("b", json!(null))), Err(Error::Full { limit: 3 })));
        queue.claim(&["b"], Duration::ZERO).unwrap().release().unwrap();
        let twin = NewJob { id: ids[4], ..NewJob::new("b", json!(null)) };
        queue.cancel(ids[6]).unwrap();
        assert!(matches!(queue.enqueue(twin), Err(Error::Exists { .. })));
    }
    let queue = open(folder.path(), options);
    let found = |filter: JobFilter| queue.list(&filter).unwrap().iter().map(|job| job.id).collect::<Vec<_>>();
    assert_eq!(found(JobFilter::default()), [ids[6], ids[5], ids[4], ids[3]]);
    assert_eq!(
        found(JobFilter { kind: Some("b".to_owned()), limit: 2, ..JobFilter::default() }),
        [ids[6], ids[5]]
    );
    assert_eq!(found(JobFilter { states: vec![JobState::Cancelled], ..JobFilter::default() }), [ids[6]]);
}

#[test]
fn priority_comes_before_age_and_a_time_before_both() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock::default());
    let queue = open(folder.path(), QueueOptions { clock: clock.clone(), ..QueueOptions::default() });
    let add = |payload: u64, priority: i32, not_before: Option<u64>| {
        let new = NewJob::new("a", json!(payload));
        queue.enqueue(NewJob { priority, not_before: not_before.map(Timestamp), ..new }).unwrap().id
    };
    add(0, 0, None);
    add(1, 5, None);
    let later = add(2, 9, Some(1_000));
    add(3, 5, None);
    let next = || queue.claim(&["a"], Duration::ZERO).map(|claimed| claimed.job().payload.clone());
    assert_eq!([next(), next()], [Some(json!(1)), Some(json!(3))]);
    assert!(queue.postpone(later, Timestamp(2_000)).unwrap());
    clock.pass(1_500);
    assert_eq!([next(), next()], [Some(json!(0)), None]);
    assert!(queue.is_busy_with("a") && !queue.is_busy_with("b"));
    clock.pass(500);
    assert_eq!([next(), next()], [Some(json!(2)), None]);
}

#[test]
fn who_waits_is_woken_when_a_jobs_time_has_come() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path(), QueueOptions::default());
    let at = Timestamp(queue.now().0 + 100);
    queue.enqueue(NewJob { not_before: Some(at), ..NewJob::new("a", json!(null)) }).unwrap();
    assert!(queue.claim(&["a"], Duration::ZERO).is_none());
    assert!(queue.claim(&["a"], Duration::from_secs(60)).is_some());
    assert!(queue.now() >= at);
}

#[test]
fn what_fails_for_now_is_tried_again_with_what_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock::default());
    let options = QueueOptions { clock: clock.clone(), ..QueueOptions::default() };
    let id = {
        let queue = open(folder.path(), options.clone());
        let id = queue.enqueue(NewJob::new("a", json!(["x", "y"]))).unwrap().id;
        let later = Retry { payload: json!(["y"]), failure: failure(), not_before: Timestamp(1_000) };
        let job = queue.claim(&["a"], Duration::ZERO).unwrap().retry(later).unwrap();
        assert_eq!((job.state, job.error), (JobState::Queued, Some(failure())));
        assert!(queue.claim(&["a"], Duration::ZERO).is_none());
        id
    };
    let queue = open(folder.path(), options);
    assert!(queue.claim(&["a"], Duration::ZERO).is_none());
    clock.pass(1_000);
    let claimed = queue.claim(&["a"], Duration::ZERO).unwrap();
    assert_eq!((claimed.job().id, &claimed.job().payload, claimed.job().attempts), (id, &json!(["y"]), 2));
    queue.cancel(id).unwrap();
    let later = Retry { payload: json!([]), failure: failure(), not_before: Timestamp(0) };
    assert_eq!(claimed.retry(later).unwrap().state, JobState::Cancelled);
}

#[test]
fn failed_jobs_stay_until_they_are_done_again_or_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        QueueOptions { keep_failed: true, max_finished: 0, max_queued: 3, ..QueueOptions::default() };
    let ids: Vec<_> = {
        let queue = open(folder.path(), options.clone());
        let fail = |number: u64| {
            let id = queue.enqueue(NewJob::new("a", json!(number))).unwrap().id;
            queue.claim(&["a"], Duration::ZERO).unwrap().finish(Err(failure())).unwrap();
            id
        };
        (0..3).map(fail).collect()
    };
    let queue = open(folder.path(), options.clone());
    assert!(matches!(queue.enqueue(NewJob::new("a", json!(null))), Err(Error::Full { limit: 3 })));
    assert!(queue.forget(ids[0]).unwrap() && !queue.forget(ids[0]).unwrap());
    assert_eq!(queue.again(ids[1]).unwrap().map(|job| job.state), Some(JobState::Queued));
    assert_eq!(queue.again(ids[0]).unwrap(), None);
    drop(queue);
    let queue = open(folder.path(), options);
    let states = queue.list(&JobFilter::default()).unwrap().into_iter().map(|job| (job.id, job.state));
    assert_eq!(states.collect::<Vec<_>>(), [(ids[2], JobState::Failed), (ids[1], JobState::Queued)]);
    queue.claim(&["a"], Duration::ZERO).unwrap().finish(Ok(json!(null))).unwrap();
    assert_eq!(queue.get(ids[1]).unwrap(), None);
}
