//! `cargo xtask COMMAND`.

use std::process::{Command, ExitCode};

use xtask::onnxruntime::Build;
use xtask::{Result, fuzz, licences, onnxruntime, parity, paths, process, testing, viewer};

const HELP: &str = "\
cargo xtask COMMAND

  demo [ARGS]      build Engram and run `engram demo`: phantom patients in, segmentations out (--keep, --json, ...)
  serve [ARGS]     build Engram and run `engram serve` with config.toml
  test [--strict]  everything that is tested: formatting, clippy, licences, the Rust tests, the tests from outside
                   (--strict, or ENGRAM_STRICT=1: a test that skips itself counts as failed)
  onnxruntime [--gpu]
                   fetch the ONNX Runtime library, or check the one that is there; prints its path
                   (--gpu: the one for NVIDIA GPUs, Linux on x86_64; it needs CUDA 12 and cuDNN 9)
  viewer           fetch the OHIF viewer, which the server then has at /viewer/; prints its folder (needs npm)
  parity [--tiny]  hold the SAM 2 runtime against the official predictor, on the same random weights (installs it;
                   --tiny: without the samples at real size, which take much longer)
  fuzz [--seconds N]
                   run every fuzz target for N seconds (600), with nightly Rust and cargo-fuzz
  licences         hold the licence of every dependency against deny.toml
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    match run(command, rest) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask {command}: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(command: &str, arguments: &[String]) -> Result<ExitCode> {
    match command {
        "demo" => engram("demo", &[], arguments),
        "serve" => engram("serve", &["--config", "config.toml"], arguments),
        "test" => {
            let strict = match arguments {
                [] => std::env::var_os("ENGRAM_STRICT").is_some_and(|value| value == "1"),
                [flag] if flag == "--strict" => true,
                _ => {
                    snafu::whatever!("could not understand {arguments:?}: it takes --strict and nothing else")
                }
            };
            Ok(if testing::everything(strict)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        "onnxruntime" => {
            let build = match arguments {
                [] => Build::Cpu,
                [flag] if flag == "--gpu" => Build::Gpu,
                _ => snafu::whatever!("could not understand {arguments:?}: it takes --gpu and nothing else"),
            };
            println!("{}", onnxruntime::library(build)?.display());
            Ok(ExitCode::SUCCESS)
        }
        "viewer" => {
            println!("{}", viewer::folder()?.display());
            Ok(ExitCode::SUCCESS)
        }
        "parity" => {
            let tiny = match arguments {
                [] => false,
                [flag] if flag == "--tiny" => true,
                _ => snafu::whatever!("could not understand {arguments:?}: it takes --tiny and nothing else"),
            };
            Ok(if parity::check(tiny)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        "fuzz" => {
            let seconds = match arguments {
                [] => Some(600),
                [flag, seconds] if flag == "--seconds" => seconds.parse().ok(),
                _ => None,
            };
            let Some(seconds) = seconds else {
                snafu::whatever!("could not understand {arguments:?}: it takes --seconds and a number")
            };
            fuzz::run(seconds)?;
            Ok(ExitCode::SUCCESS)
        }
        "licences" => {
            println!("{} outside crates, all under licences that deny.toml allows", licences::check()?);
            Ok(ExitCode::SUCCESS)
        }
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        other => snafu::whatever!("could not find a command {other:?}\n\n{HELP}"),
    }
}

/// Builds the release binary and runs one of its commands; what is given by hand wins over `defaults`.
fn engram(subcommand: &str, defaults: &[&str], arguments: &[String]) -> Result<ExitCode> {
    onnxruntime::library(Build::Cpu)?;
    process::run(process::cargo().args(["build", "--release", "--package", "engram"]))?;
    let mut command = Command::new(paths::binary("release")?);
    command.current_dir(paths::root()).arg(subcommand);
    let named = |option: &str| arguments.iter().any(|a| a == option || a.starts_with(&format!("{option}=")));
    if !defaults.first().is_some_and(|option| named(option)) {
        command.args(defaults);
    }
    process::status(command.args(arguments))
}

/// An error and what caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
