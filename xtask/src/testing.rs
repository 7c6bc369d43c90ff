//! `cargo xtask test`: everything that is tested, and how much of it passed.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::{Result, licences, onnxruntime, paths, process, python, viewer};

mod libtest;
mod pytest;

/// How the tests of one step ended.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Ran and held.
    pub passed: usize,
    /// Ran and did not hold, or could not run at all.
    pub failed: usize,
    /// Did not run here, each with its reason.
    pub skipped: Vec<String>,
}

impl Tally {
    /// A step that is one check.
    fn of_one(held: bool) -> Self {
        Self { passed: usize::from(held), failed: usize::from(!held), skipped: Vec::new() }
    }

    /// A step that says it went wrong although nothing it counted did (it crashed, or did not compile) has failed
    /// once.
    fn failed_at_least_if(mut self, wrong: bool) -> Self {
        if wrong {
            self.failed = self.failed.max(1);
        }
        self
    }
}

/// Runs every step to its end, whatever the others did, and prints what came of each; whether nothing
/// failed. `strict`: what was skipped has failed.
///
/// # Errors
/// When the tools themselves cannot be had: no rustfmt or clippy, no Python, no ONNX Runtime, no npm.
pub fn everything(strict: bool) -> Result<bool> {
    let began = Instant::now();
    components()?;
    onnxruntime::library(onnxruntime::Build::Cpu)?;
    viewer::folder()?;
    let tools = python::environment(&paths::root().join("tests/requirements.txt"))?;

    let mut steps = Vec::new();
    let mut step = |name: &'static str, run: &mut dyn FnMut() -> Result<Tally>| {
        println!("\n=== {name}");
        let began = Instant::now();
        let tally = run().unwrap_or_else(|error| {
            println!("{error}");
            Tally::of_one(false)
        });
        steps.push((name, tally, began.elapsed()));
    };
    step("formatting", &mut || one(process::cargo().args(["fmt", "--all", "--check"])));
    step("python", &mut || {
        one(Command::new(tools.join("ruff")).args(["check", "--no-cache"]).arg(paths::root()))
    });
    step("licences", &mut || licences::check().map(|_| Tally::of_one(true)));
    step("clippy", &mut || {
        one(process::cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))
    });
    step("rust tests", &mut || libtest::run(&tools, strict));
    step("tests from outside", &mut || {
        // All targets, so that the dependencies are the ones that the Rust tests were built with, features and all.
        process::run(process::cargo().args(["build", "--workspace", "--all-targets"]))?;
        pytest::run(&tools, &paths::binary("debug")?, strict)
    });

    println!("\n{:20} {:>8} {:>8} {:>8} {:>8}", "", "passed", "failed", "skipped", "seconds");
    let mut total = Tally::default();
    for (name, tally, took) in steps {
        let Tally { passed, failed, skipped } = &tally;
        println!("{name:20} {passed:>8} {failed:>8} {:>8} {:>8}", skipped.len(), took.as_secs());
        total.passed += passed;
        total.failed += failed;
        total.skipped.extend(tally.skipped);
    }
    for reason in &total.skipped {
        println!("skipped: {reason}");
    }
    if strict && !total.skipped.is_empty() {
        println!("strict: the {} skipped count as failed", total.skipped.len());
        total.failed += std::mem::take(&mut total.skipped).len();
    }
    println!("{} skipped, {} seconds in all", total.skipped.len(), began.elapsed().as_secs());
    println!("{} passed, {} failed", total.passed, total.failed);
    Ok(total.failed == 0)
}

/// A program that checks one thing.
fn one(command: &mut Command) -> Result<Tally> {
    process::succeeds(command).map(Tally::of_one)
}

/// Sees to it that rustfmt and clippy are there: a minimal toolchain comes without.
fn components() -> Result<()> {
    for component in ["rustfmt", "clippy"] {
        let subcommand = if component == "rustfmt" { "fmt" } else { component };
        let mut probe = process::cargo();
        probe.args([subcommand, "--version"]).stdout(Stdio::null());
        if !process::succeeds(&mut probe)? {
            process::run(Command::new("rustup").args(["component", "add", component]))?;
        }
    }
    Ok(())
}

/// What every test is told: where the tools of the virtual environment are, and whether to be strict.
fn told<'a>(command: &'a mut Command, tools: &Path, strict: bool) -> &'a mut Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(tools.to_path_buf()).chain(std::env::split_paths(&path));
    // A folder whose name holds the separator cannot stand in PATH: then the tools are not found, and say so.
    command.env("PATH", std::env::join_paths(folders).unwrap_or(path.clone()));
    command.env("ENGRAM_PYTHON", tools.join("python"));
    command.env("ENGRAM_STRICT", if strict { "1" } else { "0" })
}
