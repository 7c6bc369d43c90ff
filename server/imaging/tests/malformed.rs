//! Real files, spoilt: whatever comes of them, it is an answer and not a panic.

use engram_imaging::{DecodeLimits, PixelReader, RenderOptions, VolumeLimits, assemble, read_part10, render};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::path::{Path, PathBuf};

const SPOILT_COPIES: u64 = 24;
const LIMITS: DecodeLimits = DecodeLimits { max_frame_bytes: 16 << 20 };

fn transfer_syntaxes() -> Option<Vec<PathBuf>> {
    let shared = std::env::var_os("ENGRAM_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let Ok(folder) = std::fs::read_dir(shared.join("data/transfer-syntaxes")) else {
        assert!(std::env::var("ENGRAM_STRICT").as_deref() != Ok("1"), "../shared is absent");
        println!("SKIPPED malformed: ../shared is absent");
        return None;
    };
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "dcm"));
    files.sort();
    Some(files)
}

/// Decodes, renders and assembles; returns whether the first frame decoded.
fn use_up(bytes: &[u8]) -> bool {
    let Ok(object) = read_part10(bytes) else { return false };
    let _ = render(&object, 1, &RenderOptions::default(), LIMITS);
    let _ = assemble(std::slice::from_ref(&object), &VolumeLimits { max_bytes: 64 << 20, decode: LIMITS });
    let Ok(reader) = PixelReader::open(&object, LIMITS) else { return false };
    let _ = reader.stored_frame(1);
    reader.frame(reader.number_of_frames()).is_ok() && reader.frame(1).is_ok()
}

#[test]
fn spoilt_files_never_panic() {
    let Some(files) = transfer_syntaxes() else { return };
    for (number, file) in files.iter().enumerate() {
        let sound = std::fs::read(file).unwrap();
        assert!(use_up(&sound), "{}", file.display());
        for copy in 0..SPOILT_COPIES {
            let mut random = StdRng::seed_from_u64(number as u64 * 1000 + copy);
            let mut bytes = sound.clone();
            // Headers of the codestream lie in the first part, tables and data behind.
            let reach = if copy % 2 == 0 { bytes.len() } else { bytes.len().min(3000) };
            for _ in 0..random.random_range(1..6) {
                let place = random.random_range(132..reach);
                bytes[place] ^= 1 << random.random_range(0..8);
            }
            if copy % 4 == 3 {
                bytes.truncate(random.random_range(132..sound.len()));
            }
            use_up(&bytes);
        }
    }
}
