//! `kill -9` at random moments while instances are stored and deleted.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Slice, assert_consistent, open};
use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const ROUNDS: u32 = 20;
/// Studies of a round are numbered from its own number times this.
const STUDIES: u32 = 100_000;

/// Cargo builds examples beside the tests.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().join("examples").join(name)
}

/// Runs the loop, kills it after a while, and returns what it said.
fn run_and_kill(root: &Path, first: u32, after: Duration) -> Vec<String> {
    let mut child = Command::new(example("store_loop"))
        .arg(root)
        .args([first.to_string(), "0".to_owned(), side_of(first).to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let reader = thread::spawn(move || out.lines().map_while(Result::ok).collect::<Vec<_>>());
    thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

/// The slice that the loop stored under this UID.
fn slice(sop: &str) -> Slice {
    let parts: Vec<u32> = sop.split('.').skip(2).map(|part| part.parse().unwrap()).collect();
    Slice { side: side_of(parts[0]), ..Slice::new(parts[0], parts[1], parts[2].try_into().unwrap()) }
}

/// Pixels a side: of every other round so many that objects are written past the page cache.
fn side_of(study: u32) -> u16 {
    if (study / STUDIES).is_multiple_of(2) { 200 } else { 16 }
}

fn study_of(sop: &str) -> String {
    sop.split('.').take(3).collect::<Vec<_>>().join(".")
}

#[test]
fn every_acknowledged_instance_survives_and_nothing_deleted_rises() {
    let root = tempfile::tempdir().unwrap();
    let (mut stored, mut deleting, mut deleted) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for round in 1..=ROUNDS {
        let random = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_micros() % 400;
        let lines = run_and_kill(root.path(), round * STUDIES, Duration::from_millis(u64::from(60 + random)));
        for line in lines {
            match line.split_once(' ') {
                Some(("stored", sop)) => stored.insert(sop.to_owned()),
                Some(("deleting", study)) => deleting.insert(study.to_owned()),
                Some(("deleted", study)) => deleted.insert(study.to_owned()),
                _ => false,
            };
        }
        let archive = open(root.path());
        assert_consistent(&archive);
        for sop in &stored {
            let study = study_of(sop);
            let entry = archive.find_instance(sop).unwrap();
            if deleted.contains(&study) {
                assert_eq!(entry, None, "{sop} was deleted and is there again");
            } else if let Some(entry) = entry {
                assert_eq!(fs::read(entry.path).unwrap(), slice(sop).bytes());
            } else {
                assert!(deleting.contains(&study), "{sop} was acknowledged and is lost");
            }
        }
    }
    assert!(
        stored.len() > 100 && !deleted.is_empty(),
        "too little was stored to prove anything: {}",
        stored.len()
    );
    println!("{} stored, {} studies deleted, in {ROUNDS} killed runs", stored.len(), deleted.len());
}
