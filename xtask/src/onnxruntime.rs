//! The ONNX Runtime library: taken out of the wheel that its makers publish, pinned by hash, kept in the
//! cache folder where the `engram` binary finds it again. There are two builds of it: for the processor (and, on
//! macOS, Core ML), and for NVIDIA GPUs as well.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use snafu::{OptionExt, ResultExt};

use crate::{Result, paths, process, python};

/// The version that is pinned. The binary asks for the same one.
pub const VERSION: &str = "1.23.2";

/// A build of ONNX Runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// For the processor.
    Cpu,
    /// For NVIDIA GPUs, and the processor.
    Gpu,
}

/// What is pinned of a build for one platform.
struct Pinned {
    build: Build,
    os: &'static str,
    architecture: &'static str,
    /// The wheel's platform tag, as pip knows it.
    platform: &'static str,
    wheel_sha256: &'static str,
    /// The library, then what it loads by itself from the folder it lies in.
    files: &'static [File],
}

/// A file in the wheel's `onnxruntime/capi` and in the cache.
struct File {
    name: &'static str,
    sha256: &'static str,
}

const PINNED: [Pinned; 5] = [
    Pinned {
        build: Build::Cpu,
        os: "linux",
        architecture: "x86_64",
        platform: "manylinux_2_28_x86_64",
        wheel_sha256: "da44b99206e77734c5819aa2142c69e64f3b46edc3bd314f6a45a932defc0b3e",
        files: &[File {
            name: "libonnxruntime.so.1.23.2",
            sha256: "718c3fb0785d5ea06061b92c32ce4ad35be1bd4c71ae6192efe06f1ab21f0f8a",
        }],
    },
    Pinned {
        build: Build::Cpu,
        os: "linux",
        architecture: "aarch64",
        platform: "manylinux_2_28_aarch64",
        wheel_sha256: "bbfd2fca76c855317568c1b36a885ddea2272c13cb0e395002c402f2360429a6",
        files: &[File {
            name: "libonnxruntime.so.1.23.2",
            sha256: "ab8c4363e06ac80b3d1279ea55ebea44e906c5b131ba783ff684a067540c0e94",
        }],
    },
    Pinned {
        build: Build::Cpu,
        os: "macos",
        architecture: "aarch64",
        platform: "macosx_13_0_arm64",
        wheel_sha256: "6f91d2c9b0965e86827a5ba01531d5b669770b01775b23199565d6c1f136616c",
        files: &[File {
            name: "libonnxruntime.1.23.2.dylib",
            sha256: "c1440b79237783705e156956469f207d51d03d74003886197972af76b966c04c",
        }],
    },
    Pinned {
        build: Build::Cpu,
        os: "macos",
        architecture: "x86_64",
        platform: "macosx_13_0_x86_64",
        wheel_sha256: "87d8b6eaf0fbeb6835a60a4265fde7a3b60157cf1b2764773ac47237b4d48612",
        files: &[File {
            name: "libonnxruntime.1.23.2.dylib",
            sha256: "8330f6d9d53f81d564c88de6520113b25db9537872e70a0fb7942fea202f08b1",
        }],
    },
    Pinned {
        build: Build::Gpu,
        os: "linux",
        architecture: "x86_64",
        platform: "manylinux_2_28_x86_64",
        wheel_sha256: "d76d1ac7a479ecc3ac54482eea4ba3b10d68e888a0f8b5f420f0bdf82c5eec59",
        files: &[
            File {
                name: "libonnxruntime.so.1.23.2",
                sha256: "c7111c65636e247bb31d922af77ce77c47b4f902b670c13f635a9912f1b39845",
            },
            File {
                name: "libonnxruntime_providers_shared.so",
                sha256: "ee7bf6d4d32f523dbdebf9dec70a1b3287a1a60d019192490732750dc385f98c",
            },
            File {
                name: "libonnxruntime_providers_cuda.so",
                sha256: "6499069f1a4c2decd4c7281f39939151cb119f3014e8c11e1aa484729ba28603",
            },
            File {
                name: "libonnxruntime_providers_tensorrt.so",
                sha256: "130243507df6b6f432a9722a5aeeafb184da20811efd629584ef46477caec172",
            },
        ],
    },
];

impl Build {
    /// Its name on PyPI.
    fn package(self) -> &'static str {
        match self {
            Build::Cpu => "onnxruntime",
            Build::Gpu => "onnxruntime-gpu",
        }
    }

    /// Its folder in the cache.
    fn folder(self) -> String {
        match self {
            Build::Cpu => VERSION.to_owned(),
            Build::Gpu => format!("{VERSION}-gpu"),
        }
    }
}

/// Takes one member out of a wheel, which is a zip file: `wheel member destination`.
const EXTRACT: &str = "\
import shutil, sys, zipfile
wheel, member, destination = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, open(destination, 'wb') as target:
    shutil.copyfileobj(source, target)
";

/// The path of a build's library in the cache folder; it is fetched, with what belongs to it, where a file is not
/// there or not what is pinned.
///
/// # Errors
/// When nothing is pinned for this platform, it cannot be fetched, or what came is not what is pinned.
pub fn library(build: Build) -> Result<PathBuf> {
    let (os, architecture) = (std::env::consts::OS, std::env::consts::ARCH);
    let pinned = PINNED.iter().find(|p| (p.build, p.os, p.architecture) == (build, os, architecture));
    let pinned = pinned.with_whatever_context(|| {
        format!(
            "could not find {} for {os} on {architecture}: name a library of version {VERSION} in config.toml, \
             [models] onnxruntime",
            build.package()
        )
    })?;
    let folder = paths::cache()?.join("onnxruntime").join(build.folder());
    let library = pinned.files.first().map(|file| folder.join(file.name));
    let library = library.whatever_context("could not find a file that is pinned")?;
    if is_complete(pinned, &folder)? {
        return Ok(library);
    }
    eprintln!("fetching {} {VERSION} for {os} on {architecture}", build.package());
    let scratch = folder.join(format!("incoming-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)
        .with_whatever_context(|_| format!("could not make {}", scratch.display()))?;
    let outcome = fetch(pinned, &scratch, &folder);
    // What is left of a failed try is only scratch: failing to tidy up must not hide the outcome.
    let _ = std::fs::remove_dir_all(&scratch);
    outcome.map(|()| library)
}

/// Whether every file is there and is what is pinned.
fn is_complete(pinned: &Pinned, folder: &Path) -> Result<bool> {
    for file in pinned.files {
        let path = folder.join(file.name);
        if !path.exists() || sha256(&path)? != file.sha256 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Downloads the wheel into `scratch` and moves its files to `folder`, the library last: where it is, all is.
fn fetch(pinned: &Pinned, scratch: &Path, folder: &Path) -> Result<()> {
    let wheel = download(pinned, scratch)?;
    for file in pinned.files.iter().rev() {
        let extracted = extract(&wheel, file, scratch)?;
        let path = folder.join(file.name);
        std::fs::rename(&extracted, &path)
            .with_whatever_context(|_| format!("could not put {} in place", path.display()))?;
    }
    Ok(())
}

/// The wheel, downloaded into `scratch`.
fn download(pinned: &Pinned, scratch: &Path) -> Result<PathBuf> {
    let requirement = scratch.join("requirements.txt");
    let package = pinned.build.package();
    std::fs::write(&requirement, format!("{package}=={VERSION} --hash=sha256:{}\n", pinned.wheel_sha256))
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
    std::fs::read_dir(scratch)
        .whatever_context("could not list the cache folder")?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .whatever_context("could not find the wheel that pip downloaded")
}

/// A file of the wheel, taken out into `scratch` and held against its hash.
fn extract(wheel: &Path, file: &File, scratch: &Path) -> Result<PathBuf> {
    let extracted = scratch.join(file.name);
    let member = format!("onnxruntime/capi/{}", file.name);
    process::run(python::interpreter().args(["-c", EXTRACT]).arg(wheel).arg(member).arg(&extracted))?;
    let found = sha256(&extracted)?;
    if found != file.sha256 {
        snafu::whatever!("{} has SHA-256 {found}, not the pinned {}", file.name, file.sha256);
    }
    Ok(extracted)
}

/// The SHA-256 of a file, as lower-case hexadecimal digits.
fn sha256(path: &Path) -> Result<String> {
    let bytes =
        std::fs::read(path).with_whatever_context(|_| format!("could not read {}", path.display()))?;
    Ok(hex::encode(Sha256::digest(bytes)))
}
