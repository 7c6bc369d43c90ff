//! `engram models verify`.

use std::path::PathBuf;

use clap::Args;
use engram_inference::{Bundle, Engine, Graph};
use engram_workflow::report;
use serde::Serialize;

use super::rehearsal::{Output, Rehearsal};
use crate::bundles;
use crate::cli::{Common, Failure, print_json};
use crate::config::Config;

/// A batch of two may differ from two single calls by this fraction of the largest value at the most: sums are rounded
/// in another order.
const BATCH_TOLERANCE: f32 = 1e-4;
/// The same where the graphs compute in halves.
const BATCH_TOLERANCE_OF_HALVES: f32 = 1e-2;

/// Check a bundle.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,
    /// The bundle's folder, or a known bundle: its id, the name of its folder, NAME@VERSION or its name.
    #[arg(value_name = "DIR|NAME")]
    bundle: String,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Findings {
    bundle: String,
    folder: PathBuf,
    good: bool,
    checks: Vec<Check>,
}

/// One check.
#[derive(Debug, Serialize)]
struct Check {
    what: String,
    good: bool,
    found: String,
}

/// Checks hashes, graphs and a small example; fails when anything is wrong.
pub fn run(options: &Options) -> Result<(), Failure> {
    let config = options.common.load_quietly()?;
    let bundle = super::find(&config, &options.bundle)?;
    let checks = check(&config, &bundle);
    let good = checks.iter().all(|check| check.good);
    let findings =
        Findings { bundle: bundle.id().to_owned(), folder: bundle.folder().to_path_buf(), good, checks };
    if options.json {
        print_json(&findings)?;
    } else {
        println!("{} in {}", findings.bundle, findings.folder.display());
        for check in &findings.checks {
            println!("{}  {:<17} {}", if check.good { "good" } else { "BAD " }, check.what, check.found);
        }
    }
    if good { Ok(()) } else { Err(Failure::say(format!("bundle {} is not good", findings.bundle))) }
}

/// Every check that can be made: the later ones need the earlier.
fn check(config: &Config, bundle: &Bundle) -> Vec<Check> {
    let mut checks = Checks(Vec::new());
    let opened = Bundle::open(bundle.folder());
    let opened = checks.step("hashes", opened, |_| "every file is as the manifest says".to_owned());
    let Some(opened) = opened else { return checks.0 };
    let started = bundles::engine(config, opened);
    let started = checks.step("signatures", started, |engine: &Engine| {
        format!("every graph loads on {} with the inputs and outputs of its role", engine.device())
    });
    let Some(engine) = started else { return checks.0 };
    let rehearsal = Rehearsal::new(&engine, 2).map_err(Failure::of);
    let Some(rehearsal) =
        checks.step("memories", rehearsal, |_| "an image and its mask are remembered".to_owned())
    else {
        return checks.0;
    };
    let tolerance = match engine.spec().precision.as_str() {
        "fp16" => BATCH_TOLERANCE_OF_HALVES,
        _ => BATCH_TOLERANCE,
    };
    for graph in Graph::ALL {
        if let Some(outcome) = self_test(&rehearsal, graph, tolerance).transpose() {
            checks.step(graph.name(), outcome, Clone::clone);
        }
    }
    let dice = rehearsal.dice_with_itself().map_err(Failure::of);
    checks.step("round trip", dice, |dice| {
        format!("image, memory, attention, mask: Dice {dice:.3} with the mask that was remembered")
    });
    checks.0
}

struct Checks(Vec<Check>);

impl Checks {
    fn step<T, E: Explained>(
        &mut self,
        what: &str,
        outcome: Result<T, E>,
        words: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        let (good, found) = match &outcome {
            Ok(value) => (true, words(value)),
            Err(error) => (false, error.explained()),
        };
        self.0.push(Check { what: what.to_owned(), good, found });
        outcome.ok()
    }
}

/// What went wrong, with its causes.
trait Explained {
    fn explained(&self) -> String;
}

impl Explained for Failure {
    fn explained(&self) -> String {
        self.to_string()
    }
}

impl Explained for engram_inference::Error {
    fn explained(&self) -> String {
        report(self)
    }
}

/// Runs a graph on two rows together and one by one. `None` for a graph that is not rehearsed by itself.
fn self_test(rehearsal: &Rehearsal, graph: Graph, tolerance: f32) -> Result<Option<String>, Failure> {
    let call = |rows| rehearsal.call(graph, rows, 2).map_err(Failure::of);
    let (Some(both), Some(first), Some(second)) = (call(0..2)?, call(0..1)?, call(1..2)?) else {
        return Ok(None);
    };
    let mut worst = 0.0_f32;
    for ((both, first), second) in both.iter().zip(&first).zip(&second) {
        [both, first, second].into_iter().try_for_each(check_output)?;
        worst = worst.max(difference(both, first, second)?);
    }
    if worst > tolerance {
        let message =
            format!("a batch of two differs from two single calls by {worst:.1e} of the largest value");
        return Err(Failure::say(message));
    }
    let names: Vec<&str> = both.iter().map(|output| output.name).collect();
    let names = names.join(", ");
    Ok(Some(match worst {
        0.0 => format!("{names}: shapes right, finite, a batch equals single calls"),
        worst => format!("{names}: shapes right, finite, a batch equals single calls within {worst:.0e}"),
    }))
}

fn check_output(output: &Output) -> Result<(), Failure> {
    let Output { name, values, expected } = output;
    if values.shape() != expected.as_slice() {
        return Err(Failure::say(format!("\"{name}\" is {:?}, not {expected:?}", values.shape())));
    }
    match values.iter().filter(|value| !value.is_finite()).count() {
        0 => Ok(()),
        n => Err(Failure::say(format!("{n} of {} numbers of \"{name}\" are not finite", values.len()))),
    }
}

/// The largest difference between two rows together and each alone, as a fraction of the largest value.
fn difference(both: &Output, first: &Output, second: &Output) -> Result<f32, Failure> {
    let alone = ndarray::concatenate(ndarray::Axis(0), &[first.values.view(), second.values.view()]);
    let alone = alone.map_err(Failure::of)?;
    let largest = both.values.iter().fold(f32::MIN_POSITIVE, |most, value| most.max(value.abs()));
    let apart = both.values.iter().zip(&alone).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
    Ok(apart / largest)
}
