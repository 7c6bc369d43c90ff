//! Lookup tables as sequences and palettes hold them (PS3.3 C.11.1.1, C.7.6.3.1.5).

use crate::attributes::integer;
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

/// A table from consecutive values, the first of them `first`.
#[derive(Debug, Clone, PartialEq)]
pub struct Lut {
    /// Value of the first entry.
    pub first: i64,
    /// Entries, at least one.
    pub entries: Vec<u16>,
    /// Bits of an entry.
    pub bits: u16,
}

impl Lut {
    /// LUTDescriptor and LUTData of an item of a LUT sequence.
    pub(super) fn of_item(item: &InMemDicomObject, signed: bool) -> Option<Self> {
        Self::read(item, tags::LUT_DESCRIPTOR, tags::LUT_DATA, signed)
    }

    /// The descriptor says how many entries (0 for 65536), the first value and the bits of an entry.
    /// `signed`: whether the values looked up are, in which case the descriptor's are as well, whatever its
    /// VR.
    pub(super) fn read(item: &InMemDicomObject, descriptor: Tag, data: Tag, signed: bool) -> Option<Self> {
        let descriptor = item.get(descriptor)?.to_multi_int::<i64>().ok()?;
        let [count, first, bits] = <[i64; 3]>::try_from(descriptor).ok()?;
        let count = if count == 0 { 65536 } else { usize::from(count as u16) };
        let first = if signed { i64::from(first as i16) } else { i64::from(first as u16) };
        let bits = u16::try_from(bits).ok().filter(|bits| (1..=16).contains(bits))?;
        let mut entries: Vec<u16> =
            item.get(data)?.to_multi_int::<i64>().ok()?.into_iter().map(|entry| entry as u16).collect();
        if bits <= 8 && entries.len() == count.div_ceil(2) && count > 1 {
            // Entries of 8 bits in words: two to a word.
            entries = entries.into_iter().flat_map(|word| [word & 0xFF, word >> 8]).collect();
        }
        entries.truncate(count);
        (!entries.is_empty()).then_some(Self { first, entries, bits })
    }

    /// The entry of a value; values past either end take the nearest one.
    pub fn get(&self, value: f64) -> u16 {
        let index = (value.round() - self.first as f64).clamp(0.0, (self.entries.len() - 1) as f64);
        self.entries.get(index as usize).copied().unwrap_or(0)
    }

    /// The entry at a share, 0 to 1, of the way from the first to the last.
    pub(super) fn entry_at(&self, share: f64) -> u16 {
        self.get(self.first as f64 + share * (self.entries.len() - 1) as f64)
    }

    /// An entry as a share of the largest that its bits allow.
    pub(super) fn share_of(&self, entry: u16) -> f64 {
        f64::from(entry) / f64::from((1u32 << self.bits) - 1)
    }
}

/// Whether stored values are signed.
pub(super) fn is_signed(object: &InMemDicomObject) -> bool {
    integer(object, tags::PIXEL_REPRESENTATION) == Some(1)
}
