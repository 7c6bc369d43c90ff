//! What changes in a data set when its pixels do.

use super::dataset::Change;
use super::element::{self, Element};
use super::{TargetSyntax, frame};
use crate::error::{CannotHoldSnafu, MismatchedFramesSnafu, Result, TooLargeSnafu};
use crate::pixels::{Photometric, PixelReader, pack_bits};
use dicom_core::value::Value;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, InMemDicomObject};
use snafu::ensure;

/// The changes that pixels in another transfer syntax ask for, sorted by tag. `max_bytes`: most that all frames may
/// take without compression.
pub(super) fn changes(
    object: &DefaultDicomObject,
    reader: &PixelReader,
    target: TargetSyntax,
    max_bytes: u64,
) -> Result<Vec<Change>> {
    if let Some(reason) = obstacle(object, reader, target) {
        return CannotHoldSnafu { uid: target.uid(), reason }.fail();
    }
    let needed = reader.native_bytes()?;
    ensure!(needed <= max_bytes, TooLargeSnafu { what: "the frames of an object", needed, limit: max_bytes });
    match (target.is_encapsulated(), reader.is_encapsulated()) {
        (false, false) => Ok(native_changes(reader)?.into_iter().collect()),
        _ => recoded(object, reader, target),
    }
}

fn obstacle(object: &DefaultDicomObject, reader: &PixelReader, target: TargetSyntax) -> Option<&'static str> {
    let dropped = target.is_encapsulated() && has_overlays_in_pixels(object);
    let overlays = dropped.then_some("its overlays lie in unused bits of the pixels");
    target.obstacle(&reader.sample_format()).or(overlays)
}

/// Whether unused bits of the pixels hold overlays, as was allowed once (PS3.5 8.1.2).
fn has_overlays_in_pixels(object: &InMemDicomObject) -> bool {
    (0x6000..=0x601E).step_by(2).any(|group| {
        let (bit_position, overlay_data) = (Tag(group, 0x0102), Tag(group, 0x3000));
        object.get(bit_position).is_some() && object.get(overlay_data).is_none()
    })
}

/// Uncompressed before and after: only a big endian file's pixels are not yet what they are to be.
fn native_changes(reader: &PixelReader) -> Result<Option<Change>> {
    let Some((tag, value)) = reader.swapped_pixels()? else { return Ok(None) };
    let vr = match tag {
        tags::FLOAT_PIXEL_DATA => VR::OF,
        tags::DOUBLE_FLOAT_PIXEL_DATA => VR::OD,
        _ if reader.bits_allocated() > 8 => VR::OW,
        _ => VR::OB,
    };
    Ok(Some((tag, Some(Element::Plain { vr, value }))))
}

/// All frames decoded, and encoded anew.
fn recoded(object: &DefaultDicomObject, reader: &PixelReader, target: TargetSyntax) -> Result<Vec<Change>> {
    let mut photometric = None;
    let mut frames = Vec::new();
    for number in 1..=reader.number_of_frames() {
        let decoded = reader.frame(number)?;
        let found = frame::photometric(&decoded, target);
        let before = photometric.get_or_insert_with(|| found.clone());
        ensure!(*before == found, MismatchedFramesSnafu { frame: number });
        frames.push(frame::encode(&decoded, reader.bits_allocated(), reader.is_signed(), number, target)?);
    }
    let photometric = photometric.unwrap_or_else(|| Photometric::Monochrome2.to_string());
    let mut changes: Vec<Change> =
        vec![(tags::PHOTOMETRIC_INTERPRETATION, Some(Element::text(VR::CS, &photometric)))];
    if reader.samples_per_pixel() > 1 {
        changes.push((tags::PLANAR_CONFIGURATION, Some(Element::us(0))));
    }
    changes.push((tags::HIGH_BIT, Some(Element::us(reader.sample_format().bits_stored - 1))));
    if has_compressed_icon(object) {
        changes.push((tags::ICON_IMAGE_SEQUENCE, None));
    }
    changes.extend(pixel_elements(frames, reader, target));
    Ok(changes)
}

/// Pixel data, and the extended offset table where it is needed (PS3.3 C.7.6.3.1.8).
fn pixel_elements(frames: Vec<Vec<u8>>, reader: &PixelReader, target: TargetSyntax) -> [Change; 3] {
    let mut table = None;
    let mut lengths = None;
    let offsets = element::offsets(&frames);
    if target.is_encapsulated() && offsets.last().is_some_and(|last| u32::try_from(*last).is_err()) {
        let ov = |numbers: Vec<u64>| Element::Plain {
            vr: VR::OV,
            value: numbers.into_iter().flat_map(u64::to_le_bytes).collect(),
        };
        lengths = Some(ov(frames.iter().map(|frame| frame.len() as u64).collect()));
        table = Some(ov(offsets));
    }
    let pixels = match (target.is_encapsulated(), reader.bits_allocated()) {
        (true, _) => Element::Frames(frames),
        // Frames of single bits follow each other within a byte (PS3.5 8.1.1).
        (false, 1) => Element::Plain { vr: VR::OB, value: pack_bits(&frames.concat()) },
        (false, 8) => Element::Plain { vr: VR::OB, value: frames.concat() },
        (false, _) => Element::Plain { vr: VR::OW, value: frames.concat() },
    };
    [
        (tags::EXTENDED_OFFSET_TABLE, table),
        (tags::EXTENDED_OFFSET_TABLE_LENGTHS, lengths),
        (tags::PIXEL_DATA, Some(pixels)),
    ]
}

/// Whether the icon is compressed, in the transfer syntax that no longer holds then. It is left out: it can be
/// made of the image at any time.
fn has_compressed_icon(object: &InMemDicomObject) -> bool {
    let items = object.get(tags::ICON_IMAGE_SEQUENCE).and_then(|icons| icons.items()).unwrap_or_default();
    let pixels = items.iter().filter_map(|icon| icon.get(tags::PIXEL_DATA));
    pixels.into_iter().any(|pixels| matches!(pixels.value(), Value::PixelSequence(_)))
}
