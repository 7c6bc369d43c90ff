//! Log lines.

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// ONNX Runtime tells of every graph it optimises; a filter may ask for that by name (`ort=info`).
const QUIET: &str = "ort=warn";

/// Starts logging to standard error, so that standard output stays the command's own.
pub fn start(log: &Log) {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", log.level)).unwrap_or_else(|error| {
        eprintln!("engram: could not understand log.level \"{}\" ({error}); using info", log.level);
        EnvFilter::new(format!("{QUIET},info"))
    });
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process (tests) keeps the first.
    let _ = match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
