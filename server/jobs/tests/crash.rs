//! `kill -9` at random moments: what was said to be durable is.
#![allow(clippy::unwrap_used)]

use engram_jobs::{JobFilter, JobId, JobState, Queue, QueueOptions};
use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const ROUNDS: u32 = 20;

/// Cargo builds examples beside the tests.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().join("examples").join(name)
}

/// Runs the loop, kills it after a while, and returns what it said.
fn run_and_kill(folder: &Path, after: Duration) -> Vec<String> {
    let mut child = Command::new(example("job_loop")).arg(folder).stdout(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let reader = thread::spawn(move || out.lines().map_while(Result::ok).collect::<Vec<_>>());
    thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

#[test]
fn no_job_is_lost_and_none_that_ended_runs_again() {
    let folder = tempfile::tempdir().unwrap();
    let (mut queued, mut finished) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..ROUNDS {
        let random = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_micros() % 300;
        for line in run_and_kill(folder.path(), Duration::from_millis(u64::from(50 + random))) {
            // The last line may be cut short by the kill.
            let Some((what, id)) = line.split_once(' ').filter(|(_, id)| id.len() == 36) else { continue };
            let id: JobId = id.parse().unwrap();
            if what == "queued" {
                queued.insert(id)
            } else {
                finished.insert(id)
            };
        }
    }
    assert!(finished.len() > 20, "the loop did too little to prove anything: {}", finished.len());
    let db = sled::open(folder.path().join("db")).unwrap();
    let options =
        QueueOptions { max_attempts: u32::MAX, max_finished: usize::MAX, ..QueueOptions::default() };
    let queue =
        Queue::open(db.open_tree("jobs").unwrap(), &folder.path().join("jobs.journal"), options).unwrap();
    for id in &queued {
        assert!(queue.get(*id).unwrap().is_some(), "{id} was acknowledged and is lost");
    }
    for id in &finished {
        let job = queue.get(*id).unwrap().unwrap();
        assert_eq!((job.state, job.result), (JobState::Succeeded, Some(serde_json::json!({"of": id}))));
    }
    // What is left can be worked off, each job once.
    let mut done = BTreeSet::new();
    while let Some(claimed) = queue.claim(&["loop"], Duration::ZERO) {
        assert!(done.insert(claimed.job().id) && !finished.contains(&claimed.job().id));
        claimed.finish(Ok(serde_json::Value::Null)).unwrap();
    }
    let states = JobFilter { states: vec![JobState::Queued, JobState::Running], ..JobFilter::default() };
    assert_eq!(queue.list(&states).unwrap(), []);
    println!("{} queued, {} finished before a kill, {} after", queued.len(), finished.len(), done.len());
}
