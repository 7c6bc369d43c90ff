//! Overlay planes (PS3.3 C.9.2) that a state switches on (C.11.7), its own or the image's.

use super::reference::Place;
use crate::attributes::{integer, text};
use dicom_core::Tag;
use dicom_object::InMemDicomObject;

/// The groups that an overlay may have.
const GROUPS: std::ops::RangeInclusive<u16> = 0x6000..=0x601E;

/// One plane: a bit a pixel.
pub(super) struct Overlay {
    columns: usize,
    rows: usize,
    /// Where its first pixel lies in the image: row and column, the image's first being 1 and 1.
    origin: [i64; 2],
    /// The lowest bit of a byte is the first.
    bits: Vec<u8>,
}

/// The overlays that are switched on, each with the name of its layer.
pub(super) fn active(
    state: &InMemDicomObject,
    image: &InMemDicomObject,
    place: &Place,
) -> Vec<(String, Overlay)> {
    let of_group = |group| {
        let layer = text(state, Tag(group, OVERLAY_ACTIVATION_LAYER.element()))?;
        Some((layer, Overlay::of(state, group, place).or_else(|| Overlay::of(image, group, place))?))
    };
    GROUPS.step_by(2).filter_map(of_group).collect()
}

impl Overlay {
    /// The plane of a group, where it has one for this frame.
    pub(super) fn of(object: &InMemDicomObject, group: u16, place: &Place) -> Option<Self> {
        let of_group = |tag: Tag| Tag(group, tag.element());
        let side = |tag| usize::try_from(integer(object, of_group(tag))?).ok().filter(|side| *side > 0);
        let (rows, columns) = (side(OVERLAY_ROWS)?, side(OVERLAY_COLUMNS)?);
        let origin =
            object.get(of_group(OVERLAY_ORIGIN)).and_then(|origin| origin.to_multi_int::<i64>().ok());
        let first_frame = integer(object, of_group(IMAGE_FRAME_ORIGIN)).unwrap_or(1);
        let frames = integer(object, of_group(NUMBER_OF_FRAMES_IN_OVERLAY));
        // A plane without frames lies over each of the image's.
        let index = match frames {
            Some(frames) => {
                let index = (place.frame as i64).checked_sub(first_frame)?;
                usize::try_from(index).ok().filter(|_| index < frames)?
            }
            None => 0,
        };
        let pixels = rows.checked_mul(columns)?;
        let start = pixels.checked_mul(index)?;
        let bytes = object.get(of_group(OVERLAY_DATA))?.to_bytes().ok()?;
        let has_bit = |bit: usize| bytes.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1);
        if bytes.len().saturating_mul(8) < start.checked_add(pixels)? {
            return None;
        }
        let bits = (0..pixels.div_ceil(8))
            .map(|byte| (0..8).map(|bit| u8::from(has_bit(start + byte * 8 + bit)) << bit).sum())
            .collect();
        let origin = origin.and_then(|origin| origin.try_into().ok()).unwrap_or([1, 1]);
        Some(Overlay { columns, rows, origin, bits })
    }

    /// Which pixels of an image of that width and height it covers, row after row.
    pub(super) fn cover(&self, [width, height]: [usize; 2]) -> Vec<bool> {
        let is_set = |row: i64, column: i64| {
            let at = |place: i64, origin: i64, side: usize| {
                usize::try_from(place.saturating_sub(origin.saturating_sub(1)))
                    .ok()
                    .filter(|place| *place < side)
            };
            let (row, column) =
                (at(row, self.origin[0], self.rows)?, at(column, self.origin[1], self.columns)?);
            let bit = row * self.columns + column;
            self.bits.get(bit / 8).map(|byte| byte >> (bit % 8) & 1 == 1)
        };
        let pixels = (0..height as i64).flat_map(|row| (0..width as i64).map(move |column| (row, column)));
        pixels.map(|(row, column)| is_set(row, column).unwrap_or(false)).collect()
    }
}

const OVERLAY_ROWS: Tag = Tag(0x6000, 0x0010);
const OVERLAY_COLUMNS: Tag = Tag(0x6000, 0x0011);
const NUMBER_OF_FRAMES_IN_OVERLAY: Tag = Tag(0x6000, 0x0015);
const OVERLAY_ORIGIN: Tag = Tag(0x6000, 0x0050);
const IMAGE_FRAME_ORIGIN: Tag = Tag(0x6000, 0x0051);
const OVERLAY_DATA: Tag = Tag(0x6000, 0x3000);
const OVERLAY_ACTIVATION_LAYER: Tag = Tag(0x6000, 0x1001);
