//! The runtime against what SAM 2's official video predictor answers with the same weights: a tiny configuration of the
//! same architecture, random weights with boosted temporal encodings and pointers. `tests/golden` was made by
//!
//!     cd models/export; python -m engram_export.parity --out ../../server/segmenter/tests/golden --force \
//!         --only many-clicks corrected-one-of-two empty-only no-pointers-reverse
//!
//! `cargo xtask parity` runs the whole matrix.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../examples/parity/cases.rs"]
mod cases;

use cases::{Measured, Spoilt, Wrong, run};
use engram_inference::{Bundle, Engine, EngineOptions};
use engram_segmenter::EngineModels;
use std::path::Path;

fn golden(wrong: Wrong) -> Measured {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let options = EngineOptions { threads: 1, ..EngineOptions::default() };
    let engine = Engine::start(Bundle::open(root.join("bundle")).unwrap(), options).unwrap();
    let models = Spoilt { models: EngineModels::new(engine), wrong };
    let mut all = Measured::default();
    for case in std::fs::read_dir(root.join("cases")).unwrap() {
        all.join(&run(&case.unwrap().path(), &models).unwrap());
    }
    all
}

#[test]
fn the_runtime_answers_as_the_official_predictor() {
    let measured = golden(Wrong::Nothing);
    assert_eq!(
        measured.out_of_bounds, 0,
        "{} of {}, error {}",
        measured.out_of_bounds, measured.slices, measured.error
    );
    // The cases would show little if masks were empty or full, or the object always there.
    assert!(measured.telling * 2 > measured.slices);
    assert!(measured.present > 0 && measured.present < measured.slices);
}

#[test]
fn what_memory_attention_is_told_wrong_shows() {
    for wrong in [Wrong::Tpos, Wrong::Distance, Wrong::Pointer] {
        assert!(golden(wrong).out_of_bounds > 0, "{wrong:?}");
    }
}
