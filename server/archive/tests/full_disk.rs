//! A journal on a disk that takes no more: a process may be held to files of a size, which is met in the middle of a record.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use engram_archive::Journal;
use std::{env, fs, path::Path, process::Command};

/// Says to the test that it is the process with small files, and where they go.
const FOLDER: &str = "ENGRAM_TEST_FULL_DISK";

fn open(path: &Path) -> (Journal<String>, Vec<String>) {
    let mut records = Vec::new();
    let journal = Journal::open(path, |record| records.push(record)).unwrap();
    (journal, records)
}

fn record(number: usize) -> String {
    format!("{number:0300}")
}

/// Appends until nothing more fits, and goes on once there is room again.
fn fill(path: &Path) {
    let (journal, _) = open(path);
    let kept = (0..).take_while(|number| journal.append(&record(*number)).is_ok()).count();
    assert!((1..10).contains(&kept), "{kept} records fit");
    assert!(journal.append(&record(0)).is_err());
    assert_eq!(open(path).1, (0..kept).map(record).collect::<Vec<_>>());

    let too_many: Vec<String> = (0..10).map(record).collect();
    assert!(journal.rewrite(&too_many).is_err());
    assert_eq!(open(path).1.len(), kept);

    journal.rewrite([&record(7)]).unwrap();
    journal.append(&record(8)).unwrap();
    assert_eq!(open(path).1, [record(7), record(8)]);
}

#[test]
fn a_journal_that_met_the_end_of_the_disk_holds_what_it_held_and_goes_on() {
    if let Some(folder) = env::var_os(FOLDER) {
        return fill(&Path::new(&folder).join("records.journal"));
    }
    let folder = tempfile::tempdir().unwrap();
    let test = "a_journal_that_met_the_end_of_the_disk_holds_what_it_held_and_goes_on";
    // 2 units of 512 or 1024 bytes; what is beyond is an error of the call, not the end of the process.
    let run = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 2; exec \"$0\" --exact \"$1\" --nocapture"])
        .arg(env::current_exe().unwrap())
        .arg(test)
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert!(fs::metadata(folder.path().join("records.journal")).unwrap().len() > 600);
}
