//! The ONNX Runtime library: taken out of the wheel that its makers publish, pinned by hash, kept in the
//! cache folder where the `engram` binary finds it again.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use snafu::ResultExt;

use crate::{Result, paths, process, python};

/// The version that is pinned. The binary asks for the same one.
pub const VERSION: &str = "1.23.2";

/// What is pinned for one platform.
struct Pinned {
    os: &'static str,
    architecture: &'static str,
    /// The wheel's platform tag, as pip knows it.
    platform: &'static str,
    wheel_sha256: &'static str,
    /// The library's file name, in the wheel's `onnxruntime/capi` and in the cache.
    library: &'static str,
    library_sha256: &'static str,
}

const PINNED: [Pinned; 4] = [
    Pinned {
        os: "linux",
        architecture: "x86_64",
        platform: "manylinux_2_28_x86_64",
        wheel_sha256: "da44b99206e77734c5819aa2142c69e64f3b46edc3bd314f6a45a932defc0b3e",
        library: "libonnxruntime.so.1.23.2",
        library_sha256: "718c3fb0785d5ea06061b92c32ce4ad35be1bd4c71ae6192efe06f1ab21f0f8a",
    },
    Pinned {
        os: "linux",
        architecture: "aarch64",
        platform: "manylinux_2_28_aarch64",
        wheel_sha256: "bbfd2fca76c855317568c1b36a885ddea2272c13cb0e395002c402f2360429a6",
        library: "libonnxruntime.so.1.23.2",
        library_sha256: "ab8c4363e06ac80b3d1279ea55ebea44e906c5b131ba783ff684a067540c0e94",
    },
    Pinned {
        os: "macos",
        architecture: "aarch64",
        platform: "macosx_13_0_arm64",
        wheel_sha256: "6f91d2c9b0965e86827a5ba01531d5b669770b01775b23199565d6c1f136616c",
        library: "libonnxruntime.1.23.2.dylib",
        library_sha256: "c1440b79237783705e156956469f207d51d03d74003886197972af76b966c04c",
    },
    Pinned {
        os: "macos",
        architecture: "x86_64",
        platform: "macosx_13_0_x86_64",
        wheel_sha256: "87d8b6eaf0fbeb6835a60a4265fde7a3b60157cf1b2764773ac47237b4d48612",
        library: "libonnxruntime.1.23.2.dylib",
        library_sha256: "8330f6d9d53f81d564c88de6520113b25db9537872e70a0fb7942fea202f08b1",
    },
];

/// Takes one member out of a wheel, which is a zip file: `wheel member destination`.
const EXTRACT: &str = "\
import shutil, sys, zipfile
wheel, member, destination = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, open(destination, 'wb') as target:
    shutil.copyfileobj(source, target)
";

/// The library's path in the cache folder; it is fetched where it is not there, or not what is pinned.
///
/// # Errors
/// When nothing is pinned for this platform, it cannot be fetched, or what came is not what is pinned.
pub fn library() -> Result<PathBuf> {
    let (os, architecture) = (std::env::consts::OS, std::env::consts::ARCH);
    let Some(pinned) = PINNED.iter().find(|p| p.os == os && p.architecture == architecture) else {
        snafu::whatever!(
            "could not find ONNX Runtime for {os} on {architecture}: name a library of version {VERSION} in \
             config.toml, [models] onnxruntime"
        )
    };
    let folder = paths::cache()?.join("onnxruntime").join(VERSION);
    let path = folder.join(pinned.library);
    if path.exists() && sha256(&path)? == pinned.library_sha256 {
        return Ok(path);
    }
    eprintln!("fetching ONNX Runtime {VERSION} for {os} on {architecture}");
    let scratch = folder.join(format!("incoming-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)
        .with_whatever_context(|_| format!("could not make {}", scratch.display()))?;
    let outcome = fetch(pinned, &scratch, &path);
    // What is left of a failed try is only scratch: failing to tidy up must not hide the outcome.
    let _ = std::fs::remove_dir_all(&scratch);
    outcome.map(|()| path)
}

/// Downloads the wheel into `scratch` and moves its library to `path` in one step.
fn fetch(pinned: &Pinned, scratch: &Path, path: &Path) -> Result<()> {
    let requirement = scratch.join("requirements.txt");
    std::fs::write(&requirement, format!("onnxruntime=={VERSION} --hash=sha256:{}\n", pinned.wheel_sha256))
        .whatever_context("could not write into the cache folder")?;
    process::run(
        python::interpreter()
            .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"])
            .args([
                "--only-binary=:all:",
                "--require-hashes",
                "--implementation",
                "cp",
                "--python-version",
                "3.11",
            ])
            .args(["--abi", "cp311", "--platform", pinned.platform, "--dest"])
            .arg(scratch)
            .arg("--requirement")
            .arg(&requirement),
    )?;
    let wheel = std::fs::read_dir(scratch)
        .whatever_context("could not list the cache folder")?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"));
    let Some(wheel) = wheel else { snafu::whatever!("could not find the wheel that pip downloaded") };
    let library = scratch.join(pinned.library);
    let member = format!("onnxruntime/capi/{}", pinned.library);
    process::run(python::interpreter().args(["-c", EXTRACT]).arg(wheel).arg(member).arg(&library))?;
    let found = sha256(&library)?;
    if found != pinned.library_sha256 {
        snafu::whatever!("{} has SHA-256 {found}, not the pinned {}", pinned.library, pinned.library_sha256);
    }
    std::fs::rename(&library, path)
        .with_whatever_context(|_| format!("could not put {} in place", path.display()))
}

/// The SHA-256 of a file, as lower-case hexadecimal digits.
fn sha256(path: &Path) -> Result<String> {
    let bytes =
        std::fs::read(path).with_whatever_context(|_| format!("could not read {}", path.display()))?;
    Ok(hex::encode(Sha256::digest(bytes)))
}
