//! Objects for tests.

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{DefaultDicomObject, FileMetaTableBuilder, InMemDicomObject};

/// A signed 16-bit MR image without a position.
pub(crate) fn image(rows: u16, columns: u16, pixels: &[i16]) -> DefaultDicomObject {
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(uids::MR_IMAGE_STORAGE)
        .media_storage_sop_instance_uid("1.2.3")
        .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
        .build()
        .unwrap();
    let mut object = InMemDicomObject::new_empty().with_exact_meta(meta);
    set(&mut object, tags::SOP_CLASS_UID, VR::UI, uids::MR_IMAGE_STORAGE);
    set(&mut object, tags::MODALITY, VR::CS, "MR");
    set(&mut object, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
    for (tag, value) in [
        (tags::ROWS, rows),
        (tags::COLUMNS, columns),
        (tags::BITS_ALLOCATED, 16),
        (tags::BITS_STORED, 16),
        (tags::HIGH_BIT, 15),
        (tags::PIXEL_REPRESENTATION, 1),
        (tags::SAMPLES_PER_PIXEL, 1),
    ] {
        set(&mut object, tag, VR::US, PrimitiveValue::from(value));
    }
    let words: Vec<u16> = pixels.iter().map(|pixel| *pixel as u16).collect();
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(words.into())));
    object
}

/// Sets an attribute.
pub(crate) fn set(object: &mut DefaultDicomObject, tag: Tag, vr: VR, value: impl Into<PrimitiveValue>) {
    object.put(DataElement::new(tag, vr, value.into()));
}
