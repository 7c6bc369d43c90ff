//! Lookup tables as sequences and palettes hold them (PS3.3 C.11.1.1, C.7.6.3.1.5).

use crate::attributes::integer;
use dicom_core::{Tag, VR};
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
        let Descriptor { count, first, bits } = Descriptor::read(item, descriptor, signed)?;
        let mut entries = numbers(item, data)?;
        if bits <= 8 && entries.len() == count.div_ceil(2) && count > 1 {
            entries = halves(entries);
        }
        entries.truncate(count);
        (!entries.is_empty()).then_some(Self { first, entries, bits })
    }

    /// The same of a table in segments (PS3.3 C.7.9.2).
    pub(super) fn read_segmented(item: &InMemDicomObject, descriptor: Tag, data: Tag) -> Option<Self> {
        let Descriptor { count, first, bits } = Descriptor::read(item, descriptor, false)?;
        let codes = match item.get(data)?.vr() {
            VR::OB => numbers(item, data)?,
            _ if bits <= 8 => halves(numbers(item, data)?),
            _ => numbers(item, data)?,
        };
        let mut segments = Segments { codes: &codes, are_bytes: bits <= 8, count, entries: Vec::new() };
        segments.expand(0, usize::MAX, true)?;
        let entries = segments.entries;
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

/// What a table's descriptor says.
struct Descriptor {
    count: usize,
    first: i64,
    bits: u16,
}

impl Descriptor {
    fn read(item: &InMemDicomObject, descriptor: Tag, signed: bool) -> Option<Self> {
        let descriptor = item.get(descriptor)?.to_multi_int::<i64>().ok()?;
        let [count, first, bits] = <[i64; 3]>::try_from(descriptor).ok()?;
        let count = if count == 0 { 65536 } else { usize::from(count as u16) };
        let first = if signed { i64::from(first as i16) } else { i64::from(first as u16) };
        let bits = u16::try_from(bits).ok().filter(|bits| (1..=16).contains(bits))?;
        Some(Self { count, first, bits })
    }
}

fn numbers(item: &InMemDicomObject, data: Tag) -> Option<Vec<u16>> {
    let numbers = item.get(data)?.to_multi_int::<i64>().ok()?;
    Some(numbers.into_iter().map(|number| number as u16).collect())
}

/// Numbers of 8 bits in words: two to a word.
fn halves(words: Vec<u16>) -> Vec<u16> {
    words.into_iter().flat_map(|word| [word & 0xFF, word >> 8]).collect()
}

/// A table in segments, and what of it is there.
struct Segments<'a> {
    codes: &'a [u16],
    are_bytes: bool,
    /// Entries that the table is to have.
    count: usize,
    entries: Vec<u16>,
}

/// The operation codes of segments (PS3.3 C.7.9.2.1 to C.7.9.2.3).
const DISCRETE: u16 = 0;
const LINEAR: u16 = 1;
const INDIRECT: u16 = 2;

impl Segments<'_> {
    /// Appends the entries of so many segments from a place on. `may_refer`: whether they may be copies of others; what is copied
    /// may not. `None` where a segment is none.
    fn expand(&mut self, mut at: usize, segments: usize, may_refer: bool) -> Option<()> {
        for _ in 0..segments {
            // One code alone pads the value to an even length.
            let Some([operation, length]) = self.codes.get(at..).and_then(<[u16]>::first_chunk) else {
                break;
            };
            let (operation, length) = (*operation, usize::from(*length));
            if self.entries.len() >= self.count {
                break;
            }
            if length == 0 {
                return None;
            }
            at += 2;
            at += match operation {
                DISCRETE => self.copy(at, length)?,
                LINEAR => self.go_to(at, length)?,
                INDIRECT if may_refer => self.repeat(at, length)?,
                _ => return None,
            };
            self.entries.truncate(self.count);
        }
        Some(())
    }

    /// The codes themselves.
    fn copy(&mut self, at: usize, length: usize) -> Option<usize> {
        self.entries.extend_from_slice(self.codes.get(at..at.checked_add(length)?)?);
        Some(length)
    }

    /// In even steps from the last entry to the code.
    fn go_to(&mut self, at: usize, length: usize) -> Option<usize> {
        let (from, to) = (f64::from(*self.entries.last()?), f64::from(*self.codes.get(at)?));
        let entry = |step: usize| (from + (to - from) * step as f64 / length as f64).round_ties_even() as u16;
        self.entries.extend((1..=length).map(entry));
        Some(1)
    }

    /// Earlier segments once more, from a place that is counted in bytes.
    fn repeat(&mut self, at: usize, segments: usize) -> Option<usize> {
        let place = |codes: &[u16], bits: u32| {
            codes.iter().rev().fold(0, |place: usize, code| (place << bits) | usize::from(*code))
        };
        let (place, length) = match self.are_bytes {
            true => (place(self.codes.get(at..)?.first_chunk::<4>()?, 8), 4),
            false => {
                let bytes = place(self.codes.get(at..)?.first_chunk::<2>()?, 16);
                (bytes.is_multiple_of(2).then_some(bytes / 2)?, 2)
            }
        };
        self.expand(place, segments, false)?;
        Some(length)
    }
}

/// Whether stored values are signed.
pub(super) fn is_signed(object: &InMemDicomObject) -> bool {
    integer(object, tags::PIXEL_REPRESENTATION) == Some(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_core::{DataElement, PrimitiveValue};
    use proptest::prelude::*;

    const DESCRIPTOR: Tag = tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR;
    const DATA: Tag = tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA;

    fn table(count: u16, bits: u16, words: Vec<u16>) -> Option<Vec<u16>> {
        let element = |tag, vr, words: Vec<u16>| DataElement::new(tag, vr, PrimitiveValue::U16(words.into()));
        let item = InMemDicomObject::from_element_iter([
            element(DESCRIPTOR, VR::US, vec![count, 0, bits]),
            element(DATA, VR::OW, words),
        ]);
        Lut::read_segmented(&item, DESCRIPTOR, DATA).map(|lut| lut.entries)
    }

    #[test]
    fn segments_become_entries() {
        // Two entries, two steps on, three steps back; then the first two segments once more.
        let words = vec![0, 2, 10, 20, 1, 2, 40, 1, 3, 10, 2, 2, 0, 0];
        let once = [10, 20, 30, 40, 30, 20, 10];
        let expected = [once.as_slice(), &[10, 20, 30, 40]].concat();
        assert_eq!(table(11, 16, words.clone()).unwrap(), expected);
        assert_eq!(table(5, 16, words).unwrap(), expected[..5]);
        // From the second segment on, which begins at byte 8; a step of half a unit goes to the even neighbour.
        assert_eq!(table(5, 16, vec![0, 2, 0, 1, 1, 2, 2, 2, 1, 8, 0]).unwrap(), [0, 1, 2, 2, 2]);
        let bytes: [u8; 14] = [0, 1, 7, 1, 2, 9, 2, 2, 0, 0, 0, 0, 0, 0];
        let words = bytes.chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        assert_eq!(table(6, 8, words).unwrap(), [7, 8, 9, 7, 8, 9]);
    }

    #[test]
    fn what_is_no_segment_makes_no_table() {
        let cases: [&[u16]; 7] = [
            &[],
            &[3, 1, 1],
            &[1, 4, 100],
            &[0, 3, 1],
            &[0, 0, 0, 1, 7],
            &[0, 1, 5, 2, 1, 1, 0],
            &[0, 1, 5, 2, 1, 6, 0],
        ];
        for words in cases {
            assert_eq!(table(8, 16, words.to_vec()), None, "{words:?}");
        }
    }

    proptest! {
        #[test]
        fn no_segments_panic(
            count in any::<u16>(),
            bits in 7u16..=16,
            words in prop::collection::vec(prop_oneof![0u16..4, any::<u16>()], 0..20),
        ) {
            let entries = table(count, bits, words).unwrap_or_default();
            let most = if count == 0 { 65536 } else { usize::from(count) };
            prop_assert!(entries.len() <= most);
        }
    }
}
