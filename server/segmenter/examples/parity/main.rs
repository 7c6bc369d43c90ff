//! Holds the runtime against SAM 2's official video predictor, on the cases that `models/export` recorded of it.
//!
//!     cargo run --release -p engram-segmenter --example parity -- DIR [--wrong tpos|distance|pointer]
//!
//! DIR holds `bundle/` and `cases/NAME/case.json` (`python -m engram_export.parity --out DIR`). A slice's error is
//! the largest difference of its logits as a share of the largest logit; its differing pixels are those on the other
//! side of 0, at the size of the image. `--wrong` spoils what goes into memory attention, to show that the measure
//! sees it: a temporal index (the nearest slice's instead of the next), a pointer's distance (one slice more), the
//! pointer of a conditioning slice (left out). Exit status 3 where a slice is out of bounds.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a measurement may end at its first surprise

mod cases;

use cases::{Measured, Result, Spoilt, Wrong, run};
use engram_inference::{Bundle, Engine, EngineOptions};
use engram_segmenter::EngineModels;
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit status where a slice is out of bounds, as against a program that could not run.
const OUT_OF_BOUNDS: u8 = 3;

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let root = PathBuf::from(arguments.next().ok_or("name the folder with bundle/ and cases/")?);
    let mut wrong = Wrong::Nothing;
    while let Some(argument) = arguments.next() {
        wrong = match (argument.as_str(), arguments.next().as_deref()) {
            ("--wrong", Some("tpos")) => Wrong::Tpos,
            ("--wrong", Some("distance")) => Wrong::Distance,
            ("--wrong", Some("pointer")) => Wrong::Pointer,
            _ => return Err(format!("could not understand {argument}").into()),
        };
    }
    let options = EngineOptions { memory_budget_bytes: 12 << 30, ..EngineOptions::default() };
    let engine = Engine::start(Bundle::open(root.join("bundle"))?, options)?;
    println!("bundle {}", engine.bundle().id());
    let models = Spoilt { models: EngineModels::new(engine), wrong };
    let mut cases: Vec<PathBuf> =
        std::fs::read_dir(root.join("cases"))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    cases.sort();
    println!(
        "{:28} {:>6} {:>11} {:>10} {:>11} {:>8} {:>8} {:>8} {:>6}",
        "case", "slices", "max error", "px/10,000", "score error", "5-95 %", "present", "absent", "out"
    );
    let mut all = Measured::default();
    for folder in cases {
        let measured = run(&folder, &models)?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        println!("{}", line(&name, &measured));
        all.join(&measured);
    }
    println!("{}", line("all", &all));
    Ok(match all.out_of_bounds {
        0 if all.slices > 0 => ExitCode::SUCCESS,
        0 => ExitCode::FAILURE,
        _ => ExitCode::from(OUT_OF_BOUNDS),
    })
}

fn line(name: &str, measured: &Measured) -> String {
    let Measured { slices, error, score_error, differing, out_of_bounds, telling, present } = measured;
    format!(
        "{name:28} {slices:>6} {error:>11.2e} {:>10.2} {score_error:>11.2e} {telling:>8} {present:>8} {:>8} {out_of_bounds:>6}",
        differing * 1e4,
        slices - present,
    )
}
