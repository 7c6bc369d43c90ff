//! Small Part 10 objects: what searches look through, and where inputs begin.

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use engram_imaging::{DecodeLimits, TargetSyntax, TranscodeLimits, transcode};

/// StudyInstanceUID of all of them.
pub const STUDY: &str = "1.1";
/// SeriesInstanceUID of all of them.
pub const SERIES: &str = "1.1.1";

/// What kind of pixels an object has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pixels {
    /// 16 signed bits of grey.
    Grey16,
    /// 8 bits of grey.
    Grey8,
    /// 8 bits each of red, green and blue.
    Colour,
    /// Single bits.
    Bits,
}

impl Pixels {
    const fn samples_per_pixel(self) -> u16 {
        if matches!(self, Self::Colour) { 3 } else { 1 }
    }

    const fn bits(self) -> u16 {
        match self {
            Self::Grey16 => 16,
            Self::Grey8 | Self::Colour => 8,
            Self::Bits => 1,
        }
    }
}

/// Rows and columns of a frame.
const SIDE: u16 = 12;

/// An image of some frames, as Explicit VR Little Endian.
pub fn image(number: u16, pixels: Pixels, frames: u16) -> Vec<u8> {
    let instance = format!("{SERIES}.{number}");
    let text = |tag, vr, value: &str| DataElement::new(tag, vr, PrimitiveValue::from(value));
    let short = |tag, value: u16| DataElement::new(tag, VR::US, PrimitiveValue::from(value));
    let code = InMemDicomObject::from_element_iter([
        text(tags::CODE_VALUE, VR::SH, "10200004"),
        text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, "SCT"),
        text(tags::CODE_MEANING, VR::LO, "Liver"),
    ]);
    let data_set = InMemDicomObject::from_element_iter([
        text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 100"),
        text(tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE),
        text(tags::SOP_INSTANCE_UID, VR::UI, &instance),
        text(tags::STUDY_DATE, VR::DA, "20240102"),
        text(tags::STUDY_TIME, VR::TM, "101500.5"),
        text(tags::ACCESSION_NUMBER, VR::SH, "A1"),
        text(tags::MODALITY, VR::CS, "CT"),
        text(tags::STUDY_DESCRIPTION, VR::LO, "Bauch\\nativ"),
        DataElement::new(
            tags::ANATOMIC_REGION_SEQUENCE,
            VR::SQ,
            DataSetSequence::from(vec![code, InMemDicomObject::new_empty()]),
        ),
        text(tags::PATIENT_NAME, VR::PN, "M\u{fc}ller^Eva=X^Y"),
        text(tags::PATIENT_ID, VR::LO, "P1"),
        text(tags::PATIENT_AGE, VR::AS, "045Y"),
        text(tags::STUDY_INSTANCE_UID, VR::UI, STUDY),
        text(tags::SERIES_INSTANCE_UID, VR::UI, SERIES),
        text(tags::INSTANCE_NUMBER, VR::IS, &number.to_string()),
        text(tags::IMAGE_POSITION_PATIENT, VR::DS, &format!("0\\-1.5e1\\{number}.50")),
        short(tags::SAMPLES_PER_PIXEL, pixels.samples_per_pixel()),
        text(
            tags::PHOTOMETRIC_INTERPRETATION,
            VR::CS,
            if pixels == Pixels::Colour { "RGB" } else { "MONOCHROME2" },
        ),
        text(tags::NUMBER_OF_FRAMES, VR::IS, &frames.to_string()),
        short(tags::ROWS, SIDE),
        short(tags::COLUMNS, SIDE),
        short(tags::BITS_ALLOCATED, pixels.bits()),
        short(tags::BITS_STORED, pixels.bits()),
        short(tags::HIGH_BIT, pixels.bits() - 1),
        short(tags::PIXEL_REPRESENTATION, u16::from(pixels == Pixels::Grey16)),
        short(tags::PLANAR_CONFIGURATION, 0),
        text(tags::WINDOW_CENTER, VR::DS, "500"),
        text(tags::WINDOW_WIDTH, VR::DS, "1000"),
        text(tags::RESCALE_INTERCEPT, VR::DS, "-1024"),
        text(tags::RESCALE_SLOPE, VR::DS, "1"),
        text(Tag(0x0009, 0x0010), VR::LO, "A CREATOR"),
        DataElement::new(Tag(0x0009, 0x1001), VR::UN, PrimitiveValue::from(vec![1u8, 2, 3, 4])),
        DataElement::new(Tag(0x0009, 0x1002), VR::FD, PrimitiveValue::from(0.1f64)),
        DataElement::new(Tag(0x0009, 0x1003), VR::OB, PrimitiveValue::from(vec![7u8; 100])),
        DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::from(samples(pixels, frames))),
    ]);
    with_meta(data_set, &instance)
}

/// The pixels of so many frames: a slope, with a step and some noise in it.
fn samples(pixels: Pixels, frames: u16) -> Vec<u8> {
    let bits = usize::from(frames) * usize::from(SIDE * SIDE * pixels.samples_per_pixel() * pixels.bits());
    let mut bytes = Vec::new();
    for index in 0..bits.div_ceil(8) {
        let step = if index % 24 > 12 { 90 } else { 0 };
        bytes.push((index / 7 + step + index * index % 5) as u8);
    }
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

fn with_meta(data_set: InMemDicomObject, instance: &str) -> Vec<u8> {
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
        .media_storage_sop_class_uid(uids::CT_IMAGE_STORAGE)
        .media_storage_sop_instance_uid(instance);
    let mut bytes = Vec::new();
    data_set.with_meta(meta).unwrap().write_all(&mut bytes).unwrap();
    bytes
}

/// An object in another transfer syntax.
pub fn in_syntax(object: &[u8], syntax: TargetSyntax) -> Vec<u8> {
    let limits = TranscodeLimits { decode: DecodeLimits::default(), max_object_bytes: 1 << 20 };
    transcode(object, syntax, limits).unwrap().bytes
}
