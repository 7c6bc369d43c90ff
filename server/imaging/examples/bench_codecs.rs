//! Times the encoders on a made image of 512 x 512 samples of 12 bits, in an object of each transfer syntax.
//!
//! `cargo run --release -p engram-imaging --example bench_codecs`

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use engram_imaging::{DecodeLimits, PixelReader, TargetSyntax, encode_frame};
use std::error::Error;
use std::time::Instant;

const SIDE: u16 = 512;
const REPEATS: u32 = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let noise = |index: u32| index.wrapping_mul(2_654_435_761) >> 28;
    let side = u32::from(SIDE);
    let pixels: Vec<u16> = (0..side * side)
        .map(|index| {
            let (row, column) = (f64::from(index / side), f64::from(index % side));
            ((row / 40.0).sin() * 600.0 + (column / 60.0).cos() * 700.0 + 1500.0) as u16 + noise(index) as u16
        })
        .collect();
    let mut object = InMemDicomObject::new_empty();
    for (tag, value) in [
        (tags::ROWS, SIDE),
        (tags::COLUMNS, SIDE),
        (tags::BITS_ALLOCATED, 16),
        (tags::BITS_STORED, 12),
        (tags::HIGH_BIT, 11),
        (tags::PIXEL_REPRESENTATION, 0),
        (tags::SAMPLES_PER_PIXEL, 1),
    ] {
        object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
    }
    object.put(DataElement::new(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"));
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(pixels.into())));
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(uids::CT_IMAGE_STORAGE)
        .media_storage_sop_instance_uid("2.25.1")
        .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
        .build()?;
    let object = object.with_exact_meta(meta);
    let reader = PixelReader::open(&object, DecodeLimits::default())?;
    for target in TargetSyntax::OF_OBJECTS {
        let start = Instant::now();
        let mut bytes = 0;
        for _ in 0..REPEATS {
            bytes = encode_frame(&reader, 1, target)?.len();
        }
        let milliseconds = start.elapsed().as_secs_f64() * 1000.0 / f64::from(REPEATS);
        println!("{target:?}: {milliseconds:.2} ms, {bytes} bytes");
    }
    Ok(())
}
