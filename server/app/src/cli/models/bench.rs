//! `engram models bench`.

use std::fs;
use std::time::{Duration, Instant};

use clap::Args;
use engram_inference::{Bundle, Graph};
use serde::Serialize;

use super::rehearsal::Rehearsal;
use crate::bundles;
use crate::cli::{Common, Failure, print_json};

/// Slices computed in one call where calls are batched.
const BATCH: usize = 4;

/// Measure a bundle.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,
    /// The bundle's folder, or a known bundle: its id, the name of its folder, NAME@VERSION or its name.
    #[arg(value_name = "DIR|NAME")]
    bundle: String,
    /// Memories that each slice is conditioned on.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    memories: u16,
    /// Seconds to measure, all graphs together.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    seconds: f64,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Figures {
    bundle: String,
    device: String,
    memories: usize,
    graphs: Vec<GraphFigures>,
    /// Slices a second for one label: image encoder, memory attention and decoder.
    slices_per_second: f64,
    /// Most memory that the process had, bytes; none where the system does not tell.
    peak_memory_bytes: Option<u64>,
}

/// What one graph takes.
#[derive(Debug, Serialize)]
struct GraphFigures {
    graph: String,
    /// Milliseconds of a call with one row.
    ms: f64,
    /// Milliseconds a row of a call with several.
    ms_per_row_batched: f64,
}

/// Measures on made-up slices.
pub fn run(options: &Options) -> Result<(), Failure> {
    let config = options.common.load_quietly()?;
    let found = super::find(&config, &options.bundle)?;
    let bundle = Bundle::open(found.folder()).map_err(Failure::of)?;
    let engine = bundles::engine(&config, bundle)?;
    let rehearsal = Rehearsal::new(&engine, BATCH).map_err(Failure::of)?;
    let memories = usize::from(options.memories);
    // Two measurements a graph, and the whole way as long as three graphs.
    let share = options.seconds.max(0.0) / (2 * Graph::ALL.len() + 6) as f64;
    let patience = |shares: f64| Duration::try_from_secs_f64(share * shares).unwrap_or(Duration::MAX);
    let mut graphs = Vec::new();
    for graph in Graph::ALL {
        if rehearsal.call(graph, 0..1, memories).map_err(Failure::of)?.is_none() {
            continue;
        }
        let call = |rows: usize| rehearsal.call(graph, 0..rows, memories).map(drop).map_err(Failure::of);
        graphs.push(GraphFigures {
            graph: graph.name().to_owned(),
            ms: seconds_a_call(patience(1.0), || call(1))? * 1e3,
            ms_per_row_batched: seconds_a_call(patience(1.0), || call(BATCH))? * 1e3 / BATCH as f64,
        });
    }
    let whole = || rehearsal.segment(0..BATCH, memories).map_err(Failure::of);
    let figures = Figures {
        bundle: engine.bundle().id().to_owned(),
        device: engine.device().to_string(),
        memories,
        graphs,
        slices_per_second: BATCH as f64 / seconds_a_call(patience(6.0), whole)?,
        peak_memory_bytes: peak_memory(),
    };
    if options.json {
        return print_json(&figures);
    }
    print(&figures);
    Ok(())
}

/// Mean seconds of a call, over as many as the time allows after a first that does not count; at least one.
fn seconds_a_call(patience: Duration, mut call: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    call()?;
    let began = Instant::now();
    let mut calls = 0_u32;
    while calls == 0 || began.elapsed() < patience {
        call()?;
        calls += 1;
    }
    Ok(began.elapsed().as_secs_f64() / f64::from(calls))
}

/// The most memory this process had, bytes: `VmHWM` of Linux.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

fn print(figures: &Figures) {
    println!("{} on {}", figures.bundle, figures.device);
    println!("{:<18} {:>12} {:>20}", "graph", "ms, one row", format!("ms a row, {BATCH} rows"));
    for graph in &figures.graphs {
        println!("{:<18} {:>12.2} {:>20.2}", graph.graph, graph.ms, graph.ms_per_row_batched);
    }
    println!(
        "{:.1} slices a second for one label with {} memories",
        figures.slices_per_second, figures.memories
    );
    if let Some(bytes) = figures.peak_memory_bytes {
        println!("{} MiB of memory at the most", bytes >> 20);
    }
}
