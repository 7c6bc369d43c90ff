use super::*;
use crate::Error;
use crate::testing::{image, set};
use dicom_core::value::{PixelFragmentSequence, Value};
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::DefaultDicomObject;

fn open(object: &DefaultDicomObject) -> PixelReader<'_> {
    PixelReader::open(object, DecodeLimits::default()).unwrap()
}

fn encapsulate(object: &mut DefaultDicomObject, syntax: &str, fragments: Vec<Vec<u8>>) {
    object.meta_mut().transfer_syntax = syntax.to_owned();
    let pixels = PixelFragmentSequence::new_fragments(fragments);
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, Value::PixelSequence(pixels)));
}

#[test]
fn frames_count_from_one() {
    let mut object = image(1, 2, &[10, 20, 30, 40]);
    set(&mut object, tags::NUMBER_OF_FRAMES, VR::IS, "2");
    let reader = open(&object);
    assert_eq!(reader.number_of_frames(), 2);
    assert_eq!(reader.frame(1).unwrap().data, FrameData::I16(vec![10, 20]));
    assert_eq!(reader.frame(2).unwrap().data, FrameData::I16(vec![30, 40]));
    assert!(matches!(reader.frame(0), Err(Error::NoSuchFrame { frame: 0, frames: 2 })));
    assert!(matches!(reader.frame(3), Err(Error::NoSuchFrame { .. })));
    assert_eq!(reader.stored_frame(2).unwrap().bytes.as_ref(), [30, 0, 40, 0]);
}

#[test]
fn claims_that_exceed_the_limit_or_the_data_are_refused() {
    let mut object = image(1, 2, &[10, 20]);
    set(&mut object, tags::ROWS, VR::US, PrimitiveValue::from(60_000u16));
    set(&mut object, tags::COLUMNS, VR::US, PrimitiveValue::from(60_000u16));
    let limits = DecodeLimits::default();
    assert!(matches!(PixelReader::open(&object, limits), Err(Error::TooLarge { .. })));
    set(&mut object, tags::COLUMNS, VR::US, PrimitiveValue::from(2u16));
    let error = open(&object).frame(1).unwrap_err();
    assert_eq!(error.to_string(), "could not read frame 1: pixel data has 4 bytes where 240000 are needed");
    set(&mut object, tags::NUMBER_OF_FRAMES, VR::IS, "2000000000");
    assert!(matches!(open(&object).frame(2_000_000_000), Err(Error::ShortPixelData { .. })));
}

#[test]
fn attributes_without_meaning_are_named() {
    // (attribute, value, its name in the error)
    let cases = [
        (tags::ROWS, 0, "Rows"),
        (tags::BITS_ALLOCATED, 12, "BitsAllocated"),
        (tags::BITS_STORED, 17, "BitsStored"),
        (tags::SAMPLES_PER_PIXEL, 4, "SamplesPerPixel"),
    ];
    for (tag, value, name) in cases {
        let mut object = image(1, 2, &[10, 20]);
        set(&mut object, tag, VR::US, PrimitiveValue::from(value as u16));
        let error = PixelReader::open(&object, DecodeLimits::default()).err().unwrap();
        assert!(error.to_string().contains(name), "{error}");
    }
    let mut object = image(1, 2, &[10, 20]);
    object.remove_element(tags::PIXEL_DATA);
    assert!(matches!(PixelReader::open(&object, DecodeLimits::default()), Err(Error::NoPixelData)));
}

#[test]
fn single_bits_of_frames_that_share_a_byte_come_apart() {
    let mut object = image(1, 3, &[]);
    for (tag, value) in [(tags::BITS_ALLOCATED, 1), (tags::BITS_STORED, 1), (tags::HIGH_BIT, 0)] {
        set(&mut object, tag, VR::US, PrimitiveValue::from(value as u16));
    }
    set(&mut object, tags::NUMBER_OF_FRAMES, VR::IS, "3");
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::from(vec![0b1011_0101u8, 1])));
    let reader = open(&object);
    for (frame, bits) in [[1, 0, 1], [0, 1, 1], [0, 1, 1]].into_iter().enumerate() {
        assert_eq!(reader.frame(frame + 1).unwrap().data, FrameData::U8(bits.to_vec()));
    }
    assert_eq!(reader.stored_frame(2).unwrap().bytes.as_ref(), [0b110]);
}

#[test]
fn stored_frames_carry_their_media_type() {
    let cases = [
        (uids::JPEG_BASELINE8_BIT, "image/jpeg"),
        (uids::JPEG_LOSSLESS_SV1, "image/jpeg"),
        (uids::JPEGLS_LOSSLESS, "image/jls"),
        (uids::JPEG2000, "image/jp2"),
        (uids::HTJ2K, "image/jphc"),
        (uids::RLE_LOSSLESS, "image/dicom-rle"),
        (uids::JPEGXL, "image/jxl"),
        ("1.2.3.4", "application/octet-stream"),
    ];
    for (syntax, media_type) in cases {
        let mut object = image(1, 2, &[]);
        encapsulate(&mut object, syntax, vec![vec![1, 2], vec![3, 4]]);
        let stored = open(&object).stored_frame(1).unwrap();
        assert_eq!((stored.media_type, stored.transfer_syntax.as_str()), (media_type, syntax));
        assert_eq!(stored.bytes.as_ref(), [1, 2, 3, 4]);
    }
}

#[test]
fn an_unknown_transfer_syntax_is_named() {
    let mut object = image(1, 2, &[]);
    encapsulate(&mut object, uids::JPEGXL, vec![vec![1, 2]]);
    let error = open(&object).frame(1).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("could not decode transfer syntax {}: not supported", uids::JPEGXL)
    );
}

#[test]
fn tiles_that_are_all_empty_are_an_error_not_a_picture() {
    // Two tiles, neither there: OpenJPEG is content with that and leaves the components without samples.
    let mut stream = vec![0xFF, 0x4F, 0xFF, 0x51, 0, 41, 0, 0];
    for value in [4u32, 2, 0, 0, 2, 2, 0, 0] {
        stream.extend(value.to_be_bytes());
    }
    stream.extend([0, 1, 7, 1, 1]);
    stream.extend([0xFF, 0x52, 0, 12, 0, 0, 0, 1, 0, 0, 2, 2, 0, 1]);
    stream.extend([0xFF, 0x5C, 0, 4, 0x40, 0x40]);
    for tile in 0..2u8 {
        stream.extend([0xFF, 0x90, 0, 10, 0, tile, 0, 0, 0, 14, 0, 1, 0xFF, 0x93]);
    }
    stream.extend([0xFF, 0xD9]);
    let mut object = image(2, 4, &[]);
    encapsulate(&mut object, uids::JPEG2000_LOSSLESS, vec![stream.clone()]);
    let _ = open(&object).frame(1);
    let without_tiles = [&stream[..stream.len() - 30], &[0xFF, 0xD9]].concat();
    encapsulate(&mut object, uids::JPEG2000_LOSSLESS, vec![without_tiles]);
    assert!(matches!(open(&object).frame(1), Err(Error::DecodeFrame { .. })));
}
