//! `cargo xtask parity`: the runtime held against the official SAM 2 video predictor, with the same random weights.
//!
//! `models/export` records what the predictor answers; the example `parity` of the segmenter plays the same cases. The
//! whole matrix runs on a tiny configuration, samples of it on hiera-tiny at 512 and 1024 pixels. At the end memory
//! attention is told something wrong on purpose: then the measure must see it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use snafu::ResultExt;

use crate::{Result, onnxruntime, paths, process, python};

/// The oracle, installed after its requirements: its build would otherwise fetch another torch and ask for CUDA.
const ORACLE: &str = "sam2==1.1.0";
/// The whole matrix; the [`WRONG`] runs, too.
const TINY: Run = Run { name: "tiny", arguments: &["--config", "tiny-test", "--cases", "full"] };
/// Samples at real size.
const SAMPLES: [Run; 2] = [
    Run {
        name: "hiera-tiny-512",
        arguments: &["--config", "facebook/sam2.1-hiera-tiny", "--size", "512", "--cases", "sample"],
    },
    Run {
        name: "hiera-tiny-1024",
        arguments: &["--config", "facebook/sam2.1-hiera-tiny", "--size", "1024", "--cases", "sample"],
    },
];
/// Exit status of the example where a slice is out of bounds.
const OUT_OF_BOUNDS: u8 = 3;
/// What memory attention can be told wrong.
const WRONG: [&str; 3] = ["tpos", "distance", "pointer"];

/// One configuration.
struct Run {
    name: &'static str,
    arguments: &'static [&'static str],
}

/// Runs the check; whether everything held. `tiny`: only on the tiny configuration.
///
/// # Errors
/// When the oracle cannot be installed or run.
pub fn check(tiny: bool) -> Result<bool> {
    onnxruntime::library(onnxruntime::Build::Cpu)?;
    let python = environment()?;
    let samples = if tiny { &[][..] } else { &SAMPLES };
    let mut held = true;
    for run in std::iter::once(&TINY).chain(samples) {
        println!("\n=== {}", run.name);
        let folder = record(&python, run)?;
        held &= process::succeeds(&mut play(&folder))?;
    }
    for wrong in WRONG {
        println!("\n=== {} with a wrong {wrong}: slices must be out of bounds", TINY.name);
        let seen = process::status(play(&folder_of(&TINY)?).args(["--wrong", wrong]))?
            == ExitCode::from(OUT_OF_BOUNDS);
        println!("{}", if seen { "seen" } else { "NOT SEEN" });
        held &= seen;
    }
    println!("\n{}", if held { "the runtime answers as the official predictor" } else { "it did not hold" });
    Ok(held)
}

/// The virtual environment with the oracle: its interpreter.
fn environment() -> Result<PathBuf> {
    let export = paths::root().join("models/export");
    let python = python::environment(&export.join("requirements-parity.txt"))?.join("python");
    let compare =
        "import importlib.metadata as m, sys; sys.exit(sys.argv[1] != 'sam2==' + m.version('sam2'))";
    let mut there = Command::new(&python);
    there.args(["-c", compare, ORACLE]);
    if !process::succeeds(there.stderr(std::process::Stdio::null()))? {
        process::run(
            Command::new(&python)
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
                .args(["--no-deps", "--no-build-isolation", ORACLE])
                .env("SAM2_BUILD_CUDA", "0"),
        )?;
    }
    Ok(python)
}

/// Records what the predictor answers; where.
fn record(python: &Path, run: &Run) -> Result<PathBuf> {
    let folder = folder_of(run)?;
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent)
            .with_whatever_context(|_| format!("could not make {}", parent.display()))?;
    }
    process::run(
        Command::new(python)
            .current_dir(paths::root().join("models/export"))
            .args(["-m", "engram_export.parity", "--force"])
            .args(run.arguments)
            .arg("--out")
            .arg(&folder),
    )?;
    Ok(folder)
}

fn folder_of(run: &Run) -> Result<PathBuf> {
    Ok(paths::cache()?.join("parity").join(run.name))
}

/// The runtime on recorded cases.
fn play(folder: &Path) -> Command {
    let mut command = process::cargo();
    command
        .args(["run", "--quiet", "--release", "--package", "engram-segmenter", "--example", "parity", "--"])
        .arg(folder);
    command
}
