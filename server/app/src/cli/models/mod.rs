//! `engram models`: which bundles there are, whether one is whole, how fast it is, and which is used.

mod bench;
mod list;
mod rehearsal;
mod switch;
mod verify;

use std::path::Path;

use clap::{Args, Subcommand};
use engram_inference::Bundle;

use super::Failure;
use crate::bundles;
use crate::config::Config;

/// List, verify, measure and choose bundles.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the bundles there are, which is in use, their size and licence.
    List(list::Options),
    /// Check a bundle's hashes and graphs, and have it compute a small example.
    Verify(verify::Options),
    /// Measure a bundle: milliseconds per graph, slices per second, peak memory.
    Bench(bench::Options),
    /// Take a bundle into use: on a running server with --server, else from the next start.
    Use(switch::Options),
}

/// Runs the command.
pub fn run(options: &Options) -> Result<(), Failure> {
    match &options.command {
        Command::List(options) => list::run(options),
        Command::Verify(options) => verify::run(options),
        Command::Bench(options) => bench::run(options),
        Command::Use(options) => switch::run(options),
    }
}

/// The bundle in a folder, or the known one of that name; by its manifest alone.
fn find(config: &Config, asked: &str) -> Result<Bundle, Failure> {
    let folder = Path::new(asked);
    if folder.is_dir() {
        return Bundle::read(bundles::absolute(folder)).map_err(Failure::of);
    }
    engram_workflow::choose(asked, bundles::known(config), |bundle| bundle).map_err(Failure::of)
}
