//! Where things lie: the repository, the cache folder, what cargo built.

use std::path::{Path, PathBuf};

use snafu::OptionExt;

use crate::{Result, metadata};

/// The root of the repository.
pub fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// The folder of everything that is fetched or installed: `$XDG_CACHE_HOME/engram`, or `~/.cache/engram`.
/// The `engram` binary looks for ONNX Runtime in the same place.
pub fn cache() -> Result<PathBuf> {
    let named = |variable| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("XDG_CACHE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| Some(named("HOME")?.join(".cache")))
        .map(|base| base.join("engram"))
        .whatever_context("could not find a cache folder: neither XDG_CACHE_HOME nor HOME is set")
}

/// The `engram` that cargo leaves in the folder of a profile: `debug` or `release`.
pub fn binary(profile: &str) -> Result<PathBuf> {
    let name = format!("engram{}", std::env::consts::EXE_SUFFIX);
    Ok(metadata::read()?.target_directory.join(profile).join(name))
}
