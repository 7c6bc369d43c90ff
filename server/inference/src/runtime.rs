//! Finding and loading the ONNX Runtime library.
//!
//! It is never taken from an environment variable or the loader's search path: an explicit path from the
//! configuration, else beside the binary, else the user's cache, where `cargo xtask onnxruntime` puts it.

use std::path::{Path, PathBuf};

use ort::environment::Environment;
use parking_lot::Mutex;
use snafu::{OptionExt, ResultExt};

use crate::Result;
use crate::error::{FindRuntimeSnafu, LoadRuntimeSnafu, StartRuntimeSnafu};

/// The version this build is pinned to.
pub const VERSION: &str = "1.23.2";

/// The command that fetches the library.
pub const FETCH_COMMAND: &str = "cargo xtask onnxruntime";

/// ONNX Runtime allows one environment a process, for good.
static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);

/// Where the library is. `configured` is the configuration's path; where it is given, nothing else is looked at.
///
/// # Errors
/// [`Error::FindRuntime`](crate::Error::FindRuntime) with every place that was tried and the command that fetches
/// the library.
pub fn locate(configured: Option<&Path>) -> Result<PathBuf> {
    let candidates = match configured {
        Some(path) => vec![path.to_path_buf()],
        None => default_places(),
    };
    candidates.iter().find(|path| path.is_file()).cloned().with_context(|| FindRuntimeSnafu {
        version: VERSION,
        looked_at: candidates.clone(),
        command: FETCH_COMMAND,
    })
}

/// File name of the pinned library on this platform.
pub fn file_name() -> String {
    match std::env::consts::OS {
        "macos" => format!("libonnxruntime.{VERSION}.dylib"),
        "windows" => "onnxruntime.dll".to_owned(),
        _ => format!("libonnxruntime.so.{VERSION}"),
    }
}

/// The user's cache folder for the pinned version: `$XDG_CACHE_HOME/engram/onnxruntime/VERSION`, where
/// `$XDG_CACHE_HOME` defaults to `~/.cache`. `None` without a home.
pub fn cache_folder() -> Option<PathBuf> {
    // The XDG specification asks for a relative path to be ignored.
    let configured = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = configured.or_else(|| std::env::home_dir().map(|home| home.join(".cache")))?;
    Some(cache.join("engram/onnxruntime").join(VERSION))
}

fn default_places() -> Vec<PathBuf> {
    let executable = std::env::current_exe().and_then(std::fs::canonicalize).ok();
    let beside = executable.as_deref().and_then(Path::parent);
    let folders = [
        beside.map(|folder| folder.join("onnxruntime")),
        beside.and_then(Path::parent).map(|prefix| prefix.join("lib/engram")),
        cache_folder(),
    ];
    folders.into_iter().flatten().map(|folder| folder.join(file_name())).collect()
}

/// The process's environment, made with the library at `path` on the first call. Later calls get that one: a process
/// cannot load a second library.
pub(crate) fn environment(path: &Path) -> Result<Environment> {
    let mut environment = ENVIRONMENT.lock();
    if let Some(environment) = environment.as_ref() {
        return Ok(environment.clone());
    }
    let made = ort::init_from(path)
        .context(LoadRuntimeSnafu { path })?
        .with_name("engram")
        .with_telemetry(false)
        .build()
        .context(StartRuntimeSnafu)?;
    *environment = Some(made.clone());
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn a_configured_path_is_the_only_one_tried() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lib.so");
        let error = locate(Some(&path)).unwrap_err();
        assert!(matches!(&error, Error::FindRuntime { looked_at, .. } if *looked_at == [path.clone()]));
        assert!(error.to_string().contains(FETCH_COMMAND));
        std::fs::write(&path, b"").unwrap();
        assert_eq!(locate(Some(&path)).unwrap(), path);
    }

    #[test]
    fn the_default_places_end_with_the_cache() {
        let places = default_places();
        assert!(places.iter().any(|place| place.ends_with(Path::new("onnxruntime").join(file_name()))));
        assert!(places.last().unwrap().ends_with(Path::new("onnxruntime").join(VERSION).join(file_name())));
    }
}
