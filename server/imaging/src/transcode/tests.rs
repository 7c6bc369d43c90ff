use super::*;
use crate::pixels::{Frame, FrameData, Photometric};
use crate::testing::{image, set};
use dicom_core::value::{DataSetSequence, PixelFragmentSequence, Value};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_object::InMemDicomObject;
use proptest::prelude::*;

const LIMITS: TranscodeLimits =
    TranscodeLimits { decode: DecodeLimits { max_frame_bytes: 1 << 20 }, max_object_bytes: 1 << 20 };

const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// What an image is made of.
struct Kind {
    bits_allocated: u16,
    bits_stored: u16,
    signed: bool,
    samples_per_pixel: u16,
    planar: u16,
    photometric: &'static str,
}

const GREY: Kind = Kind {
    bits_allocated: 16,
    bits_stored: 16,
    signed: false,
    samples_per_pixel: 1,
    planar: 0,
    photometric: "MONOCHROME2",
};

/// Two frames of 3 x 5 pixels, every bit that can be set in some sample.
fn object(kind: &Kind) -> DefaultDicomObject {
    let mut object = image(3, 5, &[]);
    set(&mut object, tags::NUMBER_OF_FRAMES, VR::IS, "2");
    set(&mut object, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, kind.photometric);
    for (tag, value) in [
        (tags::BITS_ALLOCATED, kind.bits_allocated),
        (tags::BITS_STORED, kind.bits_stored),
        (tags::HIGH_BIT, kind.bits_stored - 1),
        (tags::PIXEL_REPRESENTATION, kind.signed.into()),
        (tags::SAMPLES_PER_PIXEL, kind.samples_per_pixel),
    ] {
        set(&mut object, tag, VR::US, PrimitiveValue::from(value));
    }
    if kind.samples_per_pixel == 3 {
        set(&mut object, tags::PLANAR_CONFIGURATION, VR::US, PrimitiveValue::from(kind.planar));
    }
    let bytes = 2 * 15 * usize::from(kind.samples_per_pixel * kind.bits_allocated) / 8;
    let mut pixels: Vec<u8> = (0..bytes).map(|index| (index * 37 + index / 7 * 91) as u8).collect();
    // Most values are small, and their unused bits copies of the sign.
    if kind.bits_allocated > 8 && kind.bits_stored <= 8 {
        pixels.iter_mut().skip(1).step_by(2).for_each(|byte| *byte = 0);
    }
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::from(pixels)));
    object
}

fn written(object: &DefaultDicomObject) -> Vec<u8> {
    let mut bytes = Vec::new();
    object.write_all(&mut bytes).unwrap();
    bytes
}

fn read(bytes: &[u8]) -> DefaultDicomObject {
    read_part10(bytes, bytes.len() as u64).unwrap()
}

fn frames(object: &DefaultDicomObject) -> Vec<Frame> {
    let reader = PixelReader::open(object, LIMITS.decode).unwrap();
    (1..=reader.number_of_frames()).map(|frame| reader.frame(frame).unwrap()).collect()
}

fn text(object: &InMemDicomObject, tag: Tag) -> String {
    object.get(tag).unwrap().to_str().unwrap().trim().to_owned()
}

/// The data set of a Part 10 object.
fn data_set(bytes: &[u8]) -> &[u8] {
    &bytes[data_set_offset(bytes).unwrap()..]
}

#[test]
fn every_kind_keeps_its_samples_in_every_syntax_that_can_hold_it() {
    let kinds = [
        GREY,
        Kind { signed: true, ..GREY },
        Kind { bits_stored: 12, ..GREY },
        Kind { bits_stored: 12, signed: true, ..GREY },
        Kind { bits_allocated: 8, bits_stored: 8, ..GREY },
        Kind { bits_allocated: 8, bits_stored: 8, signed: true, photometric: "MONOCHROME1", ..GREY },
        Kind { bits_allocated: 8, bits_stored: 1, ..GREY },
        Kind { bits_allocated: 32, bits_stored: 32, ..GREY },
        Kind { bits_allocated: 8, bits_stored: 8, photometric: "PALETTE COLOR", ..GREY },
        Kind { bits_allocated: 8, bits_stored: 8, samples_per_pixel: 3, photometric: "RGB", ..GREY },
        Kind {
            bits_allocated: 8,
            bits_stored: 8,
            samples_per_pixel: 3,
            planar: 1,
            photometric: "RGB",
            ..GREY
        },
        Kind { bits_allocated: 8, bits_stored: 8, samples_per_pixel: 3, photometric: "YBR_FULL", ..GREY },
        Kind { samples_per_pixel: 3, planar: 1, photometric: "RGB", ..GREY },
    ];
    for kind in &kinds {
        let original = object(kind);
        let file = written(&original);
        for target in TargetSyntax::OF_OBJECTS {
            let transcoded = transcode(&file, target, LIMITS);
            if kind.bits_stored == 32
                && !matches!(target, TargetSyntax::RleLossless)
                && target.is_encapsulated()
            {
                assert!(matches!(transcoded, Err(Error::CannotHold { .. })), "{target:?}");
                continue;
            }
            let transcoded = transcoded.unwrap();
            assert_eq!(transcoded.transfer_syntax, target);
            let result = read(&transcoded.bytes);
            let what = format!("{} {} bits to {target:?}", kind.photometric, kind.bits_stored);
            assert_eq!(result.meta().transfer_syntax(), target.uid(), "{what}");
            assert_eq!(frames(&result), frames(&original), "{what}");
            let colour = match (target, kind.photometric) {
                (TargetSyntax::Jpeg2000Lossless | TargetSyntax::Htj2kLossless, "RGB") => "YBR_RCT",
                (_, name) => name,
            };
            assert_eq!(text(&result, tags::PHOTOMETRIC_INTERPRETATION), colour, "{what}");
            if kind.samples_per_pixel == 3 && target.is_encapsulated() {
                assert_eq!(text(&result, tags::PLANAR_CONFIGURATION), "0", "{what}");
            }
            // And back.
            let back = transcode(&transcoded.bytes, TargetSyntax::ExplicitVrLittleEndian, LIMITS).unwrap();
            assert_eq!(frames(&read(&back.bytes)), frames(&original), "{what}, and back");
            assert_eq!(
                text(&read(&back.bytes), tags::PHOTOMETRIC_INTERPRETATION),
                kind.photometric,
                "{what}"
            );
        }
    }
}

#[test]
fn frames_are_even_fragments_behind_their_offset_table() {
    let file = written(&object(&GREY));
    let result = read(&transcode(&file, TargetSyntax::JpegLsLossless, LIMITS).unwrap().bytes);
    let Value::PixelSequence(pixels) = result.get(tags::PIXEL_DATA).unwrap().value() else {
        panic!("native")
    };
    let lengths: Vec<usize> = pixels.fragments().iter().map(Vec::len).collect();
    assert_eq!(lengths.len(), 2);
    assert!(lengths.iter().all(|length| length % 2 == 0));
    assert_eq!(pixels.offset_table(), [0, lengths[0] as u32 + 8]);
    assert!(pixels.fragments().iter().all(|frame| frame.starts_with(&[0xFF, 0xD8, 0xFF, 0xF7])));
}

#[test]
fn what_is_no_pixel_keeps_its_bytes() {
    let mut object = object(&GREY);
    // Bytes that no character set of that name holds, a private sequence, and one of undefined length.
    set(&mut object, tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 6");
    let inner = |value: &str| {
        InMemDicomObject::from_element_iter([DataElement::new(tags::CODE_MEANING, VR::LO, value)])
    };
    object.put(DataElement::new(Tag(0x0009, 0x0010), VR::LO, "ENGRAM TEST"));
    let nested = Value::from(DataSetSequence::from(vec![inner("PRIVATE"), inner("OTHER ")]));
    object.put(DataElement::new(Tag(0x0009, 0x1001), VR::SQ, nested.clone()));
    object.put(DataElement::new(tags::REQUESTED_PROCEDURE_CODE_SEQUENCE, VR::SQ, nested));
    set(&mut object, tags::PATIENT_NAME, VR::PN, "JAPAN^NAME");
    let mut file = written(&object);
    let name = file.windows(10).position(|window| window == b"JAPAN^NAME").unwrap();
    file[name..name + 10].copy_from_slice(b"\x1b$B;3ED\x1b(B");

    let compressed = transcode(&file, TargetSyntax::JpegLsLossless, LIMITS).unwrap().bytes;
    let back = transcode(&compressed, TargetSyntax::ExplicitVrLittleEndian, LIMITS).unwrap().bytes;
    // In a data set without VRs that of the pixels is OW; nothing else may differ.
    assert_eq!(data_set(&back), data_set(&file));
    let implicit = transcode(&file, TargetSyntax::ImplicitVrLittleEndian, LIMITS).unwrap().bytes;
    assert!(implicit.windows(10).any(|window| window == b"\x1b$B;3ED\x1b(B"));
    let again = transcode(&implicit, TargetSyntax::ExplicitVrLittleEndian, LIMITS).unwrap().bytes;
    let again = read(&again);
    let items = again.get(tags::REQUESTED_PROCEDURE_CODE_SEQUENCE).unwrap().items().unwrap();
    let meanings: Vec<String> = items.iter().map(|item| text(item, tags::CODE_MEANING)).collect();
    assert_eq!(meanings, ["PRIVATE", "OTHER"]);
    assert_eq!(again.get(tags::ROWS).unwrap().vr(), VR::US);
}

#[test]
fn big_endian_and_deflated_objects_are_read() {
    for (syntax, kind) in [
        (BIG_ENDIAN, GREY),
        (BIG_ENDIAN, Kind { bits_allocated: 8, bits_stored: 8, ..GREY }),
        (uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, GREY),
    ] {
        let mut original = object(&kind);
        let words = original.get(tags::PIXEL_DATA).unwrap().to_bytes().unwrap().into_owned();
        let words: Vec<u16> = words.as_chunks::<2>().0.iter().map(|word| u16::from_le_bytes(*word)).collect();
        original.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(words.into())));
        original.meta_mut().transfer_syntax = syntax.to_owned();
        let file = written(&original);
        let expected = frames(&read(&file));
        for target in TargetSyntax::OF_OBJECTS {
            let result = read(&transcode(&file, target, LIMITS).unwrap().bytes);
            assert_eq!(frames(&result), expected, "{syntax} to {target:?}");
            assert_eq!(text(&result, tags::ROWS), "3");
        }
    }
}

#[test]
fn what_a_syntax_cannot_hold_is_refused_and_what_has_no_pixels_is_not() {
    let mut bits = object(&Kind { bits_allocated: 8, bits_stored: 8, ..GREY });
    for (tag, value) in [(tags::BITS_ALLOCATED, 1u16), (tags::BITS_STORED, 1), (tags::HIGH_BIT, 0)] {
        set(&mut bits, tag, VR::US, PrimitiveValue::from(value));
    }
    let mut floats = object(&GREY);
    floats.remove_element(tags::PIXEL_DATA);
    floats.put(DataElement::new(
        tags::FLOAT_PIXEL_DATA,
        VR::OF,
        PrimitiveValue::F32([0.5; 30].as_slice().into()),
    ));
    let mut overlays = object(&Kind { bits_stored: 12, ..GREY });
    set(&mut overlays, Tag(0x6002, 0x0102), VR::US, PrimitiveValue::from(13u16));
    for object in [bits, floats, overlays] {
        let file = written(&object);
        for target in TargetSyntax::OF_OBJECTS {
            let transcoded = transcode(&file, target, LIMITS);
            match target.is_encapsulated() {
                true => assert!(matches!(transcoded, Err(Error::CannotHold { .. })), "{target:?}"),
                false => assert_eq!(frames(&read(&transcoded.unwrap().bytes)), frames(&object)),
            }
        }
    }
    let mut report = object(&GREY);
    report.remove_element(tags::PIXEL_DATA);
    let transcoded = transcode(&written(&report), TargetSyntax::Jpeg2000Lossless, LIMITS).unwrap();
    assert_eq!(transcoded.transfer_syntax, TargetSyntax::ExplicitVrLittleEndian);
    let transcoded = transcode(&written(&report), TargetSyntax::ImplicitVrLittleEndian, LIMITS).unwrap();
    assert_eq!(read(&transcoded.bytes).meta().transfer_syntax(), uids::IMPLICIT_VR_LITTLE_ENDIAN);
}

#[test]
fn single_bits_that_were_compressed_are_packed_again() {
    let mut object = object(&Kind { bits_allocated: 8, bits_stored: 8, ..GREY });
    for (tag, value) in [(tags::BITS_ALLOCATED, 1u16), (tags::BITS_STORED, 1), (tags::HIGH_BIT, 0)] {
        set(&mut object, tag, VR::US, PrimitiveValue::from(value));
    }
    object.meta_mut().transfer_syntax = uids::ENCAPSULATED_UNCOMPRESSED_EXPLICIT_VR_LITTLE_ENDIAN.to_owned();
    let fragments = PixelFragmentSequence::new_fragments(vec![vec![0xFF, 0x01], vec![0x0F, 0x70]]);
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, Value::PixelSequence(fragments)));
    let result =
        read(&transcode(&written(&object), TargetSyntax::ExplicitVrLittleEndian, LIMITS).unwrap().bytes);
    let expected = [0xFF, 0x81, 0x07, 0x38];
    assert_eq!(result.get(tags::PIXEL_DATA).unwrap().to_bytes().unwrap().as_ref(), expected);
}

#[test]
fn a_compressed_icon_is_left_out_when_its_syntax_no_longer_holds() {
    let file = transcode(&written(&object(&GREY)), TargetSyntax::RleLossless, LIMITS).unwrap().bytes;
    let mut object = read(&file);
    let pixels = object.get(tags::PIXEL_DATA).unwrap().clone();
    let icon = InMemDicomObject::from_element_iter([pixels]);
    let icons = Value::from(DataSetSequence::from(vec![icon]));
    object.put(DataElement::new(tags::ICON_IMAGE_SEQUENCE, VR::SQ, icons));
    let result = transcode(&written(&object), TargetSyntax::ImplicitVrLittleEndian, LIMITS).unwrap();
    assert!(read(&result.bytes).get(tags::ICON_IMAGE_SEQUENCE).is_none());
}

#[test]
fn limits_hold_before_anything_is_decoded() {
    let file = written(&object(&GREY));
    let limits = TranscodeLimits { max_object_bytes: 59, ..LIMITS };
    let transcoded = transcode(&file, TargetSyntax::RleLossless, limits);
    assert!(matches!(transcoded, Err(Error::TooLarge { needed: 60, limit: 59, .. })));
}

#[test]
fn a_frame_is_encoded_alone() {
    let object =
        object(&Kind { bits_allocated: 8, bits_stored: 8, samples_per_pixel: 3, photometric: "RGB", ..GREY });
    let reader = PixelReader::open(&object, LIMITS.decode).unwrap();
    let octets = encode_frame(&reader, 2, TargetSyntax::ExplicitVrLittleEndian).unwrap();
    assert_eq!(FrameData::U8(octets), reader.frame(2).unwrap().data);
    assert!(encode_frame(&reader, 1, TargetSyntax::JpegBaseline).unwrap().starts_with(&[0xFF, 0xD8, 0xFF]));
    let format = SampleFormat { photometric: Photometric::PaletteColor, ..reader.sample_format() };
    assert!(TargetSyntax::JpegBaseline.obstacle(&format).is_some());
}

proptest! {
    #[test]
    fn spoilt_files_never_panic(
        places in proptest::collection::vec((132usize..900, any::<u8>()), 1..5),
        length in 100usize..1200,
        syntax in 0usize..TargetSyntax::OF_OBJECTS.len(),
        target in 0usize..TargetSyntax::OF_OBJECTS.len(),
    ) {
        let source = TargetSyntax::OF_OBJECTS[syntax];
        let mut file = transcode(&written(&object(&GREY)), source, LIMITS).unwrap().bytes;
        for (place, value) in places {
            if let Some(byte) = file.get_mut(place) {
                *byte = value;
            }
        }
        file.truncate(length);
        let start = data_set_offset(&file).unwrap_or(0).min(file.len());
        for from in [EXPLICIT, IMPLICIT, Encoding { explicit: true, big_endian: true }] {
            for explicit in [true, false] {
                let _ = dataset::rewrite(&file[start..], from, explicit, true, Vec::new(), Vec::new());
            }
        }
        // What claims more than there is does not get into an archive; the parser would set memory aside for it.
        let from = if source == TargetSyntax::ImplicitVrLittleEndian { IMPLICIT } else { EXPLICIT };
        if dataset::rewrite(&file[start..], from, true, true, Vec::new(), Vec::new()).is_ok() {
            let _ = transcode(&file, TargetSyntax::OF_OBJECTS[target], LIMITS);
        }
    }
}
