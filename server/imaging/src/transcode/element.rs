//! Elements that are written anew.

use super::dataset::UNDEFINED;
use dicom_core::{Tag, VR};

/// What begins an item, and what ends a sequence.
pub(super) const ITEM: Tag = Tag(0xFFFE, 0xE000);
pub(super) const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);

/// A value and its VR.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Element {
    /// A plain one, in little endian.
    Plain { vr: VR, value: Vec<u8> },
    /// Compressed frames, a fragment each (PS3.5 A.4).
    Frames(Vec<Vec<u8>>),
}

impl Element {
    /// A short text.
    pub fn text(vr: VR, value: &str) -> Self {
        Self::Plain { vr, value: value.as_bytes().to_vec() }
    }

    /// A number of VR US.
    pub fn us(value: u16) -> Self {
        Self::Plain { vr: VR::US, value: value.to_le_bytes().to_vec() }
    }

    /// Writes the element, its value padded to an even length (PS3.5 6.2, A.4).
    pub fn put(self, tag: Tag, explicit: bool, out: &mut Vec<u8>) {
        match self {
            Self::Plain { vr, value } => {
                let padding = value.len() % 2;
                put_header(tag, vr, (value.len() + padding) as u32, explicit, out);
                out.extend_from_slice(&value);
                if padding == 1 {
                    out.push(if vr == VR::CS { b' ' } else { 0 });
                }
            }
            Self::Frames(frames) => put_frames(tag, frames, explicit, out),
        }
    }
}

/// An element's header. A value too long for its VR's length is of VR UN (PS3.5 6.2.2).
pub(super) fn put_header(tag: Tag, vr: VR, length: u32, explicit: bool, out: &mut Vec<u8>) {
    out.extend(tag.group().to_le_bytes());
    out.extend(tag.element().to_le_bytes());
    if !explicit {
        out.extend(length.to_le_bytes());
        return;
    }
    match u16::try_from(length) {
        Ok(length) if has_short_length(vr) => {
            out.extend(vr.to_bytes());
            out.extend(length.to_le_bytes());
        }
        _ => {
            out.extend(if has_short_length(vr) { VR::UN } else { vr }.to_bytes());
            out.extend([0, 0]);
            out.extend(length.to_le_bytes());
        }
    }
}

/// Whether the length of an explicit VR has 16 bits (PS3.5 7.1.2).
pub(super) fn has_short_length(vr: VR) -> bool {
    !matches!(
        vr,
        VR::OB
            | VR::OD
            | VR::OF
            | VR::OL
            | VR::OV
            | VR::OW
            | VR::SQ
            | VR::SV
            | VR::UC
            | VR::UN
            | VR::UR
            | VR::UT
            | VR::UV
    )
}

/// Bytes of the numbers that a value is made of (PS3.5 7.3).
pub fn word_bytes(vr: VR) -> usize {
    match vr {
        VR::OW | VR::US | VR::SS | VR::AT => 2,
        VR::OL | VR::OF | VR::UL | VR::SL | VR::FL => 4,
        VR::OD | VR::OV | VR::UV | VR::SV | VR::FD => 8,
        _ => 1,
    }
}

/// An item's or a delimiter's tag and length.
pub(super) fn put_delimiter(tag: Tag, length: u32, out: &mut Vec<u8>) {
    out.extend(tag.group().to_le_bytes());
    out.extend(tag.element().to_le_bytes());
    out.extend(length.to_le_bytes());
}

/// Where each frame's fragment starts, counted from the first one, padding and item headers included.
pub(super) fn offsets(frames: &[Vec<u8>]) -> Vec<u64> {
    let mut next = 0;
    let each = frames.iter().map(|frame| {
        let start = next;
        next += 8 + frame.len().next_multiple_of(2) as u64;
        start
    });
    each.collect()
}

/// Pixel data in fragments behind a Basic Offset Table, which is empty where its 32 bits do not suffice.
fn put_frames(tag: Tag, frames: Vec<Vec<u8>>, explicit: bool, out: &mut Vec<u8>) {
    put_header(tag, VR::OB, UNDEFINED, explicit, out);
    let table: Option<Vec<u32>> =
        offsets(&frames).into_iter().map(|offset| u32::try_from(offset).ok()).collect();
    let table = table.unwrap_or_default();
    put_delimiter(ITEM, 4 * table.len() as u32, out);
    out.extend(table.iter().flat_map(|offset| offset.to_le_bytes()));
    for frame in frames {
        put_delimiter(ITEM, frame.len().next_multiple_of(2) as u32, out);
        out.extend_from_slice(&frame);
        out.resize(out.len() + frame.len() % 2, 0);
    }
    put_delimiter(SEQUENCE_END, 0, out);
}
