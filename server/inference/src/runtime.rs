//! Finding and loading the ONNX Runtime library.
//!
//! It is never taken from an environment variable or the loader's search path: an explicit path from the
//! configuration, else beside the binary, else the user's cache, where `cargo xtask onnxruntime` puts it.

use std::path::{Path, PathBuf};

use ort::environment::Environment;
use parking_lot::Mutex;
use snafu::{OptionExt, ResultExt};

use crate::error::{FindRuntimeSnafu, LoadRuntimeSnafu, StartRuntimeSnafu};
use crate::{Device, Result};

/// The version this build is pinned to.
pub const VERSION: &str = "1.23.2";

/// The file of ONNX Runtime's CUDA provider, beside a library that has one.
const CUDA_PROVIDER: &str = match cfg!(windows) {
    true => "onnxruntime_providers_cuda.dll",
    false => "libonnxruntime_providers_cuda.so",
};

/// The command that fetches the library.
pub const FETCH_COMMAND: &str = "cargo xtask onnxruntime";

/// The folder beside that of the CPU library, in the user's cache, where the library for NVIDIA GPUs lies.
const GPU_FOLDER: &str = "1.23.2-gpu";

/// ONNX Runtime allows one environment a process, for good.
static RUNTIME: Mutex<Option<Runtime>> = Mutex::new(None);

/// ONNX Runtime as it was loaded into this process.
#[derive(Clone)]
pub(crate) struct Runtime {
    pub(crate) environment: Environment,
    /// The library.
    pub(crate) library: PathBuf,
}

/// Where the library for `devices` is. `configured` is the configuration's path; where it is given, nothing else is
/// looked at. For an NVIDIA GPU, or [`Device::Auto`], a library with a CUDA provider beside it goes before one without.
///
/// # Errors
/// [`Error::FindRuntime`](crate::Error::FindRuntime) with every place that was tried and the command that fetches
/// the library.
pub fn locate(configured: Option<&Path>, devices: &[Device]) -> Result<PathBuf> {
    let candidates = match configured {
        Some(path) => vec![path.to_path_buf()],
        None => default_places(),
    };
    let prefers_gpu = devices.iter().any(|device| device.is_nvidia() || *device == Device::Auto);
    choose(&candidates, prefers_gpu).with_context(|| FindRuntimeSnafu {
        version: VERSION,
        looked_at: candidates.clone(),
        command: FETCH_COMMAND,
    })
}

/// The first library that is there; one with a CUDA provider beside it where that is preferred and there is one.
fn choose(candidates: &[PathBuf], prefers_gpu: bool) -> Option<PathBuf> {
    let there = || candidates.iter().filter(|path| path.is_file());
    let with_cuda = || there().find(|path| path.with_file_name(CUDA_PROVIDER).is_file());
    prefers_gpu.then(with_cuda).flatten().or_else(|| there().next()).cloned()
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
    Some(user_cache()?.join("onnxruntime").join(VERSION))
}

/// Engram's folder in the user's cache: `$XDG_CACHE_HOME/engram`, or `~/.cache/engram`. `None` without a home.
pub fn user_cache() -> Option<PathBuf> {
    // The XDG specification asks for a relative path to be ignored.
    let configured = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = configured.or_else(|| std::env::home_dir().map(|home| home.join(".cache")))?;
    Some(cache.join("engram"))
}

fn default_places() -> Vec<PathBuf> {
    let executable = std::env::current_exe().and_then(std::fs::canonicalize).ok();
    let beside = executable.as_deref().and_then(Path::parent);
    let folders = [
        beside.map(|folder| folder.join("onnxruntime")),
        beside.and_then(Path::parent).map(|prefix| prefix.join("lib/engram")),
        cache_folder(),
        // Last: it serves the processor as well, and is used for it where there is no other.
        cache_folder().map(|folder| folder.with_file_name(GPU_FOLDER)),
    ];
    folders.into_iter().flatten().map(|folder| folder.join(file_name())).collect()
}

/// The process's ONNX Runtime, loaded from `library` on the first call. Later calls get that one: a process cannot
/// load a second library.
pub(crate) fn load(library: &Path) -> Result<Runtime> {
    let mut runtime = RUNTIME.lock();
    if let Some(runtime) = runtime.as_ref() {
        return Ok(runtime.clone());
    }
    let environment = ort::init_from(library)
        .context(LoadRuntimeSnafu { path: library })?
        .with_name("engram")
        .with_telemetry(false)
        .build()
        .context(StartRuntimeSnafu)?;
    let made = Runtime { environment, library: library.to_path_buf() };
    *runtime = Some(made.clone());
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
        let error = locate(Some(&path), &[Device::Cpu]).unwrap_err();
        assert!(matches!(&error, Error::FindRuntime { looked_at, .. } if *looked_at == [path.clone()]));
        assert!(error.to_string().contains(FETCH_COMMAND));
        std::fs::write(&path, b"").unwrap();
        assert_eq!(locate(Some(&path), &[Device::Cpu]).unwrap(), path);
    }

    #[test]
    fn a_library_with_a_cuda_provider_goes_first_where_a_gpu_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name).join(file_name());
        let places = [place("none"), place("cpu"), place("gpu")];
        assert_eq!(choose(&places, true), None);
        for name in ["cpu", "gpu"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            std::fs::write(place(name), b"").unwrap();
        }
        assert_eq!(choose(&places, true), Some(place("cpu")));
        std::fs::write(place("gpu").with_file_name(CUDA_PROVIDER), b"").unwrap();
        assert_eq!(choose(&places, true), Some(place("gpu")));
        assert_eq!(choose(&places, false), Some(place("cpu")));
    }

    #[test]
    fn the_default_places_end_with_the_cache() {
        let places = default_places();
        assert!(places.iter().any(|place| place.ends_with(Path::new("onnxruntime").join(file_name()))));
        let [.., cpu, gpu] = places.as_slice() else { panic!("{places:?}") };
        assert!(cpu.ends_with(Path::new("onnxruntime").join(VERSION).join(file_name())));
        assert!(gpu.ends_with(Path::new("onnxruntime").join(format!("{VERSION}-gpu")).join(file_name())));
    }
}
