//! What `cargo metadata` says of the workspace: the few fields that are used here.

use std::path::PathBuf;

use serde::Deserialize;
use snafu::ResultExt;

use crate::{Result, process};

/// The workspace and every crate it depends on, directly or not.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    /// All crates, those of the workspace among them.
    pub packages: Vec<Package>,
    /// Where cargo puts what it builds.
    pub target_directory: PathBuf,
}

/// One crate.
#[derive(Debug, Deserialize)]
pub struct Package {
    /// As in its manifest.
    pub name: String,
    /// As in its manifest.
    pub version: String,
    /// The SPDX expression, where its manifest has one.
    pub license: Option<String>,
    /// Where it comes from; `None` for a crate of this workspace.
    pub source: Option<String>,
    /// Its `Cargo.toml`.
    pub manifest_path: PathBuf,
    /// What its manifest asks for.
    pub dependencies: Vec<Dependency>,
}

/// One line of a manifest's dependencies.
#[derive(Debug, Deserialize)]
pub struct Dependency {
    /// The crate asked for.
    pub name: String,
    /// `None` for an ordinary dependency, `dev` or `build` for the others.
    pub kind: Option<String>,
}

/// Asks cargo.
///
/// # Errors
/// When cargo cannot be run, or a manifest is broken.
pub fn read() -> Result<Metadata> {
    let mut command = process::cargo();
    command.args(["metadata", "--format-version", "1", "--locked"]);
    let output = command.output().whatever_context("could not start cargo metadata")?;
    if !output.status.success() {
        snafu::whatever!(
            "cargo metadata did not succeed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    serde_json::from_slice(&output.stdout).whatever_context("could not understand cargo metadata")
}
