//! The workspace's Rust tests, counted from what libtest prints.

use std::path::Path;

use super::{Tally, told};
use crate::{Result, process};

/// A program of tests that runs longer stands still: it is ended and has failed, and the others run all the same.
const RUNNER: &str = r#"target.'cfg(target_os = "linux")'.runner = ["timeout", "--kill-after=10", "1200"]"#;

/// Runs them all, printing what they print but for the output of tests that passed.
pub fn run(tools: &Path, strict: bool) -> Result<Tally> {
    let mut report = Report::default();
    let mut command = process::cargo();
    command.args(["test", "--workspace", "--no-fail-fast", "--config", RUNNER, "--", "--show-output"]);
    let succeeded = process::each_line(told(&mut command, tools, strict), |line| {
        if report.read(line) {
            println!("{line}");
        }
    })?;
    Ok(report.tally.failed_at_least_if(!succeeded))
}

/// Reads libtest's output line by line.
#[derive(Default)]
struct Report {
    tally: Tally,
    among_successes: bool,
    /// Tests of the running program that libtest says passed, but that said themselves they were skipped.
    skipped: usize,
    /// Whether the test whose output is being read has said so.
    said_so: bool,
}

impl Report {
    /// Takes in one line; whether a person wants to see it.
    fn read(&mut self, line: &str) -> bool {
        if line == "successes:" {
            self.among_successes = true;
        } else if line == "failures:" {
            self.among_successes = false;
        } else if line.starts_with("---- ") {
            self.said_so = false;
        } else if let Some(reason) = line.strip_prefix("SKIPPED ") {
            self.tally.skipped.extend((!self.said_so).then(|| reason.to_owned()));
            self.skipped += usize::from(!self.said_so);
            self.said_so = true;
        } else if let Some(counts) = line.strip_prefix("test result: ") {
            self.tally.passed += count(counts, "passed").saturating_sub(std::mem::take(&mut self.skipped));
            self.tally.failed += count(counts, "failed");
            self.among_successes = false;
        } else if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ignored"))
        {
            self.tally.skipped.push(format!("{}: ignored{}", name.0, name.1));
        }
        !self.among_successes
    }
}

/// The number that stands before `what` in `ok. 3 passed; 0 failed; ...`.
fn count(counts: &str, what: &str) -> usize {
    let clauses = counts.split([';', '.']);
    let number = clauses.filter_map(|clause| clause.trim().strip_suffix(what)).next();
    number.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_libtest_prints() {
        let mut report = Report::default();
        let shown: Vec<&str> = "\
running 4 tests
test a ... ok
test b ... ok
test c ... FAILED
test d ... ignored, takes an hour

successes:

---- b stdout ----
SKIPPED b: ../shared is absent
SKIPPED b: and so is its neighbour

successes:
    a
    b

failures:

---- c stdout ----
no

failures:
    c

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s"
            .lines()
            .filter(|line| report.read(line))
            .collect();
        assert_eq!(shown.len(), 15, "{shown:#?}");
        assert!(!shown.contains(&"---- b stdout ----"));
        assert!(shown.contains(&"---- c stdout ----"));
        let skipped = vec!["d: ignored, takes an hour".to_owned(), "b: ../shared is absent".to_owned()];
        assert_eq!(report.tally, Tally { passed: 1, failed: 1, skipped });
    }
}
