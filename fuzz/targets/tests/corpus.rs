//! Every input that is kept, through the target that it belongs to: `fuzz/corpus/TARGET`, from which fuzzing starts, and
//! `fuzz/regressions/TARGET`, what went wrong once.

#![allow(clippy::unwrap_used, reason = "a test")]

use engram_fuzz_targets::TARGETS;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The longest that an input may take, without optimisation on a busy machine; what hung once took for ever.
const LONGEST: Duration = Duration::from_secs(20);

fn inputs(folder: &Path) -> Vec<PathBuf> {
    let Ok(folder) = fs::read_dir(folder) else { return Vec::new() };
    folder.map(|entry| entry.unwrap().path()).collect()
}

/// One after the other: memory is measured for the whole process.
#[test]
fn every_kept_input_holds() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for target in TARGETS {
        let corpus = inputs(&fuzz.join("corpus").join(target.name));
        assert!(!corpus.is_empty(), "{} has no corpus", target.name);
        for path in corpus.into_iter().chain(inputs(&fuzz.join("regressions").join(target.name))) {
            println!("{}", path.display());
            let began = Instant::now();
            target.run(&fs::read(&path).unwrap());
            assert!(began.elapsed() < LONGEST, "{} took {:?}", path.display(), began.elapsed());
        }
    }
}
