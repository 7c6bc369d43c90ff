//! Python: the interpreter, and the virtual environment of the tests from outside.

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};
use snafu::ResultExt;

use crate::{Result, paths, process};

/// The interpreter on the path; `PYTHON` names another.
pub fn interpreter() -> Command {
    Command::new(std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into()))
}

/// A virtual environment with exactly what a requirements file pins, in the cache folder: made on first use
/// and again whenever the file changes. Its `bin` folder.
///
/// # Errors
/// When the environment cannot be made or a package cannot be installed.
pub fn environment(requirements: &Path) -> Result<PathBuf> {
    let pinned = std::fs::read(requirements)
        .with_whatever_context(|_| format!("could not read {}", requirements.display()))?;
    let hash = hex::encode(Sha256::digest(&pinned));
    let folder = paths::cache()?.join("python").join(&hash[..16]);
    let (bin, complete) = (folder.join("bin"), folder.join("complete"));
    if complete.exists()
        && process::succeeds(Command::new(bin.join("python")).args(["-c", ""])).unwrap_or(false)
    {
        return Ok(bin);
    }
    process::run(interpreter().args(["-m", "venv", "--clear"]).arg(&folder))
        .whatever_context("could not make a virtual environment (Debian: apt-get install python3-venv)")?;
    process::run(
        Command::new(bin.join("python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(requirements),
    )?;
    std::fs::write(&complete, &pinned)
        .with_whatever_context(|_| format!("could not write {}", complete.display()))?;
    Ok(bin)
}
