//! Running other programs.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

use snafu::{OptionExt, ResultExt};

use crate::{Result, paths};

/// The cargo that runs this program, at the repository's root.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(paths::root());
    command
}

/// Runs to the end, sharing this program's terminal.
///
/// # Errors
/// When it cannot be started or does not succeed.
pub fn run(command: &mut Command) -> Result<()> {
    if succeeds(command)? { Ok(()) } else { snafu::whatever!("{} did not succeed", described(command)) }
}

/// As [`run`], but failing is an answer.
pub fn succeeds(command: &mut Command) -> Result<bool> {
    let status =
        command.status().with_whatever_context(|_| format!("could not start {}", described(command)))?;
    Ok(status.success())
}

/// As [`run`], handing on its exit status.
pub fn status(command: &mut Command) -> Result<ExitCode> {
    let status =
        command.status().with_whatever_context(|_| format!("could not start {}", described(command)))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Runs to the end and hands over each line of its standard output as it comes; whether it succeeded.
pub fn each_line(command: &mut Command, mut line: impl FnMut(&str)) -> Result<bool> {
    let name = described(command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_whatever_context(|_| format!("could not start {name}"))?;
    let output =
        child.stdout.take().whatever_context("could not reach the output of a program just started")?;
    let mut lines = BufReader::new(output);
    let mut bytes = Vec::new();
    while lines
        .read_until(b'\n', &mut bytes)
        .with_whatever_context(|_| format!("could not read from {name}"))?
        > 0
    {
        line(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']));
        bytes.clear();
    }
    Ok(child.wait().with_whatever_context(|_| format!("could not wait for {name}"))?.success())
}

/// Program and arguments, as one would type them.
fn described(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
