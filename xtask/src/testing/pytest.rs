//! The tests from outside (`tests/`), counted from the report that pytest writes.

use std::path::Path;
use std::process::Command;

use snafu::ResultExt;

use super::{Tally, told};
use crate::{Result, paths, process};

/// How many processes share the tests, a module each: most of a test is one program that waits for another, so that two
/// keep two processors busy.
const PROCESSES: &str = "2";

/// Runs them all against a built `engram`.
pub fn run(tools: &Path, binary: &Path, strict: bool) -> Result<Tally> {
    let report = paths::cache()?.join(format!("pytest-{}.xml", std::process::id()));
    let mut command = Command::new(tools.join("python"));
    command
        .current_dir(paths::root())
        .args(["-m", "pytest", "tests", "-p", "no:cacheprovider", "-q", "-rs", "--durations=10"])
        // As they stand, not the modules of few tests last: those are the long ones.
        .args(["--numprocesses", PROCESSES, "--dist", "loadfile", "--no-loadscope-reorder"])
        .arg("--timeout=900")
        .arg(format!("--junitxml={}", report.display()))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("ENGRAM_BINARY", binary);
    let succeeded = process::succeeds(told(&mut command, tools, strict))?;
    let text = std::fs::read_to_string(&report).whatever_context("could not read what pytest reports")?;
    std::fs::remove_file(&report).whatever_context("could not remove what pytest reported")?;
    Ok(tally(&text).failed_at_least_if(!succeeded))
}

/// Counts the outcomes in a JUnit report. A test that failed and whose teardown failed too is one failure more.
fn tally(report: &str) -> Tally {
    let mut tally = Tally::default();
    for case in report.split("<testcase ").skip(1) {
        let case = case.split("</testcase>").next().unwrap_or(case);
        let failed = case.matches("<failure").count() + case.matches("<error").count();
        if failed > 0 {
            tally.failed += failed;
        } else if case.contains("<skipped") {
            tally.skipped.push(format!("{} {}", attribute(case, "name"), attribute(case, "message")));
        } else {
            tally.passed += 1;
        }
    }
    tally
}

/// The first attribute of that name, as it stands in the report.
fn attribute<'a>(element: &'a str, name: &str) -> &'a str {
    let start = format!(" {name}=\"");
    let padded = element.find(&start).map(|at| &element[at + start.len()..]);
    let bare = || element.strip_prefix(&start[1..]);
    padded.or_else(bare).and_then(|rest| rest.split('"').next()).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_pytest_reports() {
        let report = r#"<?xml version="1.0"?><testsuites name="pytest tests"><testsuite name="pytest" tests="4">
<testcase classname="t" name="a" time="0.1" /><testcase classname="t" name="b" time="0.1"><failure message="assert 1">
<![CDATA[text]]></failure></testcase><testcase classname="t" name="c" time="0.0"><skipped type="pytest.skip"
 message="../shared is absent">t.py:3</skipped></testcase><testcase classname="t" name="d"><error message="boom"/>
</testcase></testsuite></testsuites>"#;
        let skipped = vec!["c ../shared is absent".to_owned()];
        assert_eq!(tally(report), Tally { passed: 1, failed: 2, skipped });
    }
}
