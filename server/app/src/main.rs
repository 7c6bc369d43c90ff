//! The `engram` binary: CLI, configuration, HTTP assembly, auth and telemetry. Knows nothing of how things are stored
//! or computed; it opens the rooms and joins them.

mod assembly;
mod bundles;
mod cli;
mod client;
mod config;
mod demo;
mod dimse;
mod evaluate;
mod guard;
mod http;
mod listen;
mod montage;
mod nodes;
mod outgoing;
mod telemetry;
mod tls;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    match cli::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("engram: {failure}");
            ExitCode::FAILURE
        }
    }
}
