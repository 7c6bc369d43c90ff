//! `cargo xtask fuzz`: each fuzz target for a while, from the inputs that are kept.

use std::process::Command;

use crate::{Result, paths, process};

/// The targets, as `fuzz/Cargo.toml` names them.
pub const TARGETS: [&str; 5] = ["dicom_json", "dicom_xml", "multipart", "part10", "query"];

/// Bytes of an input, MiB of memory, and seconds that an input may take.
const LIMITS: [&str; 3] = ["-max_len=16384", "-rss_limit_mb=2048", "-timeout=10"];

/// Runs one target after the other, each for so many seconds, with nightly Rust and cargo-fuzz. What it finds goes to
/// `fuzz/artifacts`; new inputs go to `fuzz/corpus`.
///
/// # Errors
/// When a target fails, or the tools are not there.
pub fn run(seconds: u64) -> Result<()> {
    for target in TARGETS {
        println!("\n=== {target}");
        let mut command = Command::new("cargo");
        command.current_dir(paths::root()).args(["+nightly", "fuzz", "run", target, "--"]).args(LIMITS);
        command.arg(format!("-max_total_time={seconds}"));
        // What the archive's and the server's threads hold at the end is no leak.
        process::run(command.env("ASAN_OPTIONS", "detect_leaks=0"))?;
    }
    Ok(())
}
