//! Real images, their pixel data and their attributes spoilt: whatever comes of them, it is an answer and
//! not a panic.

#![allow(clippy::unwrap_used, reason = "a test")]

use dicom_core::value::{PixelFragmentSequence, Value};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::DefaultDicomObject;
use engram_imaging::{DecodeLimits, PixelReader, RenderOptions, VolumeLimits, assemble, read_part10, render};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::path::{Path, PathBuf};

const SPOILT_COPIES: u64 = 16;
const LIMITS: DecodeLimits = DecodeLimits { max_frame_bytes: 8 << 20 };

/// What describes the pixels.
const ATTRIBUTES: [Tag; 9] = [
    tags::ROWS,
    tags::COLUMNS,
    tags::SAMPLES_PER_PIXEL,
    tags::BITS_ALLOCATED,
    tags::BITS_STORED,
    tags::HIGH_BIT,
    tags::PIXEL_REPRESENTATION,
    tags::PLANAR_CONFIGURATION,
    tags::NUMBER_OF_FRAMES,
];

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

/// Decodes, renders and assembles; returns whether the first and the last frame decoded.
fn use_up(object: &DefaultDicomObject) -> bool {
    let _ = render(object, 1, &RenderOptions::default(), LIMITS);
    let _ = assemble(std::slice::from_ref(object), &VolumeLimits { max_bytes: 32 << 20, decode: LIMITS });
    let Ok(reader) = PixelReader::open(object, LIMITS) else { return false };
    let _ = reader.stored_frame(1);
    reader.frame(reader.number_of_frames()).is_ok() && reader.frame(1).is_ok()
}

/// Flips bits, more of them where the headers of a codestream are, and cuts every fourth.
fn spoil(bytes: &mut Vec<u8>, random: &mut StdRng) {
    if bytes.is_empty() {
        return;
    }
    let reach = if random.random_bool(0.5) { bytes.len() } else { bytes.len().min(200) };
    for _ in 0..random.random_range(1..6) {
        bytes[random.random_range(0..reach)] ^= 1 << random.random_range(0..8);
    }
    if random.random_bool(0.25) {
        bytes.truncate(random.random_range(0..bytes.len()));
    }
}

fn spoilt(sound: &DefaultDicomObject, seed: u64) -> DefaultDicomObject {
    let mut random = StdRng::seed_from_u64(seed);
    let mut object = sound.clone();
    let pixels: Value<_, Vec<u8>> = match sound.element(tags::PIXEL_DATA).unwrap().value() {
        Value::PixelSequence(sequence) => {
            let mut fragments = sequence.fragments().to_vec();
            fragments.iter_mut().for_each(|fragment| spoil(fragment, &mut random));
            let offsets = sequence.offset_table().to_vec();
            Value::PixelSequence(PixelFragmentSequence::new(offsets, fragments))
        }
        other => {
            let mut bytes = other.to_bytes().unwrap().into_owned();
            spoil(&mut bytes, &mut random);
            Value::Primitive(PrimitiveValue::U8(bytes.into()))
        }
    };
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, pixels));
    if random.random_bool(0.4) {
        let tag = ATTRIBUTES[random.random_range(0..ATTRIBUTES.len())];
        let value = [0, 1, 2, 3, 7, 8, 12, 16, 32, 600, 65535][random.random_range(0..11)];
        object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value as u16)));
    }
    object
}

#[test]
fn spoilt_images_never_panic() {
    let Some(files) = transfer_syntaxes() else { return };
    for (number, file) in files.iter().enumerate() {
        let bytes = std::fs::read(file).unwrap();
        let sound = read_part10(bytes.as_slice(), bytes.len() as u64).unwrap();
        assert!(use_up(&sound), "{}", file.display());
        for copy in 0..SPOILT_COPIES {
            use_up(&spoilt(&sound, number as u64 * 1000 + copy));
        }
    }
}
