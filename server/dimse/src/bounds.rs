//! A look over a data set before it is read whole: an element may claim gigabytes that are not there, and sequences may nest
//! until the stack ends, in a few bytes of a stranger's.

use dicom_core::dictionary::DataDictionaryEntry;
use dicom_core::{DataDictionary, Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;
use dicom_encoding::transfer_syntax::Endianness;

/// How deep sequences and their items may nest, both counted.
const MAX_DEPTH: usize = 32;
/// The length that stands for "until the delimiter" (PS3.5 7.1.3).
const UNDEFINED: u32 = u32::MAX;
const ITEM: Tag = Tag(0xFFFE, 0xE000);
const ITEM_DELIMITER: Tag = Tag(0xFFFE, 0xE00D);
const SEQUENCE_DELIMITER: Tag = Tag(0xFFFE, 0xE0DD);

/// How elements are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// Whether the VR stands in each element.
    pub has_vr: bool,
    /// The order of bytes.
    pub endianness: Endianness,
}

/// Whether every element lies in the bytes, and in the sequences and items that it says it is in; what is wrong otherwise.
pub fn check(bytes: &[u8], encoding: Encoding) -> Result<(), &'static str> {
    // Where the sequences and items around end; `None`: at their delimiters.
    let mut open: Vec<Option<usize>> = Vec::new();
    let mut position = 0;
    while position < bytes.len() {
        while open.pop_if(|end| *end == Some(position)).is_some() {}
        let bound = open.iter().rev().flatten().next().copied().unwrap_or(bytes.len());
        let (header, value) = read(bytes, position, encoding).ok_or("an element's header is cut off")?;
        if value > bound {
            return Err("an element begins beyond the end of what it lies in");
        }
        position = value;
        if matches!(header.tag, ITEM_DELIMITER | SEQUENCE_DELIMITER) {
            open.pop_if(|end| end.is_none()).ok_or("a delimiter ends nothing")?;
            continue;
        }
        let end = header.length.map(|length| value.saturating_add(length));
        if end.is_some_and(|end| end > bound) {
            return Err("an element claims more bytes than there are");
        }
        match (header.holds_elements, end) {
            (true, _) if open.len() == MAX_DEPTH => return Err("sequences nest too deep"),
            (true, _) => open.push(end),
            (false, Some(end)) => position = end,
            (false, None) => return Err("an element that is no sequence has no length"),
        }
    }
    match open.iter().all(|end| *end == Some(position)) {
        true => Ok(()),
        false => Err("a sequence or item does not end"),
    }
}

struct Header {
    tag: Tag,
    holds_elements: bool,
    /// `None` where it is undefined.
    length: Option<usize>,
}

/// The element's header at a position, and where its value begins (PS3.5 7.1); `None` where it is cut off, or its VR is none.
fn read(bytes: &[u8], position: usize, encoding: Encoding) -> Option<(Header, usize)> {
    let at = |offset: usize, count: usize| bytes.get(position + offset..position + offset + count);
    let short = |offset| {
        let pair: [u8; 2] = at(offset, 2)?.try_into().ok()?;
        Some(match encoding.endianness {
            Endianness::Little => u16::from_le_bytes(pair),
            Endianness::Big => u16::from_be_bytes(pair),
        })
    };
    let long = |offset| {
        let four: [u8; 4] = at(offset, 4)?.try_into().ok()?;
        Some(match encoding.endianness {
            Endianness::Little => u32::from_le_bytes(four),
            Endianness::Big => u32::from_be_bytes(four),
        })
    };
    let tag = Tag(short(0)?, short(2)?);
    let is_of_items = tag.group() == ITEM.group();
    let (vr, length, size) = match encoding.has_vr && !is_of_items {
        false => (None, long(4)?, 8),
        true => {
            let vr = VR::from_binary(at(4, 2)?.try_into().ok()?)?;
            match has_long_length(vr) {
                true => (Some(vr), long(8)?, 12),
                false => (Some(vr), u32::from(short(6)?), 8),
            }
        }
    };
    let length = (length != UNDEFINED).then_some(length as usize);
    let holds_elements = match vr {
        Some(vr) => vr == VR::SQ,
        // Without a VR, what has no length is a sequence whatever the dictionary knows of it.
        None => tag == ITEM || length.is_none() || is_sequence(tag),
    };
    Some((Header { tag, holds_elements, length }, position + size))
}

fn is_sequence(tag: Tag) -> bool {
    StandardDataDictionary.by_tag(tag).is_some_and(|entry| entry.vr().relaxed() == VR::SQ)
}

fn has_long_length(vr: VR) -> bool {
    use VR::{OB, OD, OF, OL, OV, OW, SQ, SV, UC, UN, UR, UT, UV};
    matches!(vr, OB | OD | OF | OL | OV | OW | SQ | SV | UC | UN | UR | UT | UV)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMPLICIT: Encoding = Encoding { has_vr: false, endianness: Endianness::Little };
    const EXPLICIT: Encoding = Encoding { has_vr: true, endianness: Endianness::Little };

    /// Referenced SOP Sequence and items in it, of undefined length and without delimiters.
    fn nested(depth: usize) -> Vec<u8> {
        let begin =
            [0x08, 0, 0x99, 0x11, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xff, 0, 0xe0, 0xff, 0xff, 0xff, 0xff];
        begin.repeat(depth)
    }

    #[test]
    fn what_claims_more_than_there_is_is_refused() {
        let whole = [0x10, 0, 0x20, 0, 2, 0, 0, 0, b'P', b'1'];
        assert_eq!(check(&whole, IMPLICIT), Ok(()));
        let closed =
            [nested(1), vec![0xfe, 0xff, 0x0d, 0xe0, 0, 0, 0, 0, 0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0]]
                .concat();
        assert_eq!(check(&closed, IMPLICIT), Ok(()));
        let claims = [0x10, 0, 0x20, 0, 0xf0, 0xff, 0xff, 0xff, b'P', b'1'];
        let explicit = [0x10, 0, 0x20, 0, b'O', b'B', 0, 0, 0xf0, 0xff, 0xff, 0xff, b'P', b'1'];
        let beyond_its_item =
            [0x08, 0, 0x99, 0x11, 8, 0, 0, 0, 0xfe, 0xff, 0, 0xe0, 10, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0];
        for (bytes, encoding) in [
            (&claims[..], IMPLICIT),
            (&explicit, EXPLICIT),
            (&beyond_its_item, IMPLICIT),
            (&whole[..6], IMPLICIT),
            (&whole[..9], IMPLICIT),
            (&nested(1), IMPLICIT),
            (&nested(100_000), IMPLICIT),
        ] {
            assert!(check(bytes, encoding).is_err());
        }
    }
}
