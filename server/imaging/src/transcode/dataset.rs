//! Rewrites the bytes of a data set in another native encoding. Values stay the bytes they are, texts in
//! whatever character set above all; only element headers, byte order and what is to change are written anew.

use super::element::{Element, ITEM, SEQUENCE_END, has_short_length, put_delimiter, put_header, word_bytes};
use crate::error::{DataSetSnafu, Result};
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;
use snafu::{OptionExt, ensure};
use std::collections::{BTreeMap, BTreeSet};

/// A length that is told by a delimiter (PS3.5 7.1.1).
pub(super) const UNDEFINED: u32 = u32::MAX;
const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
/// Sequences within each other, at most.
const DEEPEST: usize = 64;

/// How elements are encoded (PS3.5 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Encoding {
    pub explicit: bool,
    pub big_endian: bool,
}

/// Explicit VR Little Endian, in which every compressed transfer syntax encodes its elements too.
pub(super) const EXPLICIT: Encoding = Encoding { explicit: true, big_endian: false };
/// Implicit VR Little Endian, in which unknown values of undefined length are encoded too (PS3.5 6.2.2).
pub(super) const IMPLICIT: Encoding = Encoding { explicit: false, big_endian: false };

/// An element to be written instead of the one there is, if any; `None` to leave that out.
pub(super) type Change = (Tag, Option<Element>);

/// Writes the data set `bytes` behind `out`, in little endian. `changes`: of elements not in sequences, sorted
/// by tag. `signed`: PixelRepresentation, which decides the VR of some elements that come without one. Group
/// lengths, which are retired and would be wrong, are left out.
pub(super) fn rewrite(
    bytes: &[u8],
    from: Encoding,
    explicit: bool,
    signed: bool,
    changes: Vec<Change>,
    out: Vec<u8>,
) -> Result<Vec<u8>> {
    let mut writer = Writer { bytes, explicit, signed, out };
    // Not every writer keeps to the order of tags (PS3.5 7.1): what is there is changed where it stands.
    let tags = writer.tags(from)?;
    let (there, new): (Vec<Change>, Vec<Change>) =
        changes.into_iter().partition(|(tag, _)| tags.contains(tag));
    let mut there: BTreeMap<Tag, Option<Element>> = there.into_iter().collect();
    let mut new = new.into_iter().peekable();
    let mut position = 0;
    while !writer.is_at_end(position) {
        let header = writer.header(position, from)?;
        while let Some(change) = new.next_if(|(tag, _)| *tag < header.tag) {
            writer.put(change);
        }
        position = match there.get_mut(&header.tag) {
            Some(element) => {
                let change = (header.tag, element.take());
                writer.put(change);
                writer.end(&header, from, 0)?
            }
            None if header.tag.element() == 0 => writer.end(&header, from, 0)?,
            None => writer.copy(&header, from, 0)?,
        };
    }
    new.for_each(|change| writer.put(change));
    Ok(writer.out)
}

/// An element's header.
#[derive(Debug, Clone, Copy)]
struct Header {
    tag: Tag,
    /// UN where it is not told, and not known by the tag.
    vr: VR,
    length: u32,
    /// Where the element and its value start.
    start: usize,
    value: usize,
}

struct Writer<'a> {
    bytes: &'a [u8],
    explicit: bool,
    signed: bool,
    out: Vec<u8>,
}

impl<'a> Writer<'a> {
    /// The tags of the elements that are not in sequences.
    fn tags(&self, from: Encoding) -> Result<BTreeSet<Tag>> {
        let mut tags = BTreeSet::new();
        let mut position = 0;
        while !self.is_at_end(position) {
            let header = self.header(position, from)?;
            tags.insert(header.tag);
            position = self.end(&header, from, 0)?;
        }
        Ok(tags)
    }

    /// Whether no element begins there: what fills a file up to a whole number of blocks begins with the tag (0000,0000).
    fn is_at_end(&self, position: usize) -> bool {
        self.bytes.get(position..).is_none_or(|rest| rest.is_empty() || rest.starts_with(&[0; 4]))
    }

    fn put(&mut self, (tag, element): Change) {
        if let Some(element) = element {
            element.put(tag, self.explicit, &mut self.out);
        }
    }

    /// Copies an element, and returns where the next one starts.
    fn copy(&mut self, header: &Header, from: Encoding, depth: usize) -> Result<usize> {
        let end = self.end(header, from, depth)?;
        if from.explicit == self.explicit && !from.big_endian {
            self.out.extend_from_slice(self.slice(header.start, end)?);
            return Ok(end);
        }
        let inner = inner(header, from);
        if header.vr == VR::SQ || (header.length == UNDEFINED && inner.is_some()) {
            self.copy_sequence(header, inner.unwrap_or(from), end, depth)?;
            return Ok(end);
        }
        ensure!(header.length != UNDEFINED, DataSetSnafu { what: "it has compressed pixels in a sequence" });
        put_header(header.tag, header.vr, header.length, self.explicit, &mut self.out);
        let value = self.out.len();
        self.out.extend_from_slice(self.slice(header.value, end)?);
        if from.big_endian {
            let word = word_bytes(header.vr);
            self.out[value..].chunks_exact_mut(word).for_each(<[u8]>::reverse);
        }
        Ok(end)
    }

    /// Copies a sequence, its own length and those of its items left open.
    fn copy_sequence(&mut self, header: &Header, inner: Encoding, end: usize, depth: usize) -> Result<()> {
        put_header(header.tag, VR::SQ, UNDEFINED, self.explicit, &mut self.out);
        let mut position = header.value;
        while position < end {
            let item = self.header(position, inner)?;
            if item.tag == SEQUENCE_END {
                break;
            }
            ensure!(item.tag == ITEM, DataSetSnafu { what: "a sequence holds something else than items" });
            put_delimiter(ITEM, UNDEFINED, &mut self.out);
            let item_end = self.item_end(&item, inner, depth + 1)?;
            position = item.value;
            while position < item_end {
                let element = self.header(position, inner)?;
                position = match element.tag {
                    ITEM_END => element.value,
                    tag if tag.element() == 0 => self.end(&element, inner, depth + 1)?,
                    _ => self.copy(&element, inner, depth + 1)?,
                };
            }
            put_delimiter(ITEM_END, 0, &mut self.out);
        }
        put_delimiter(SEQUENCE_END, 0, &mut self.out);
        Ok(())
    }

    fn slice(&self, start: usize, end: usize) -> Result<&'a [u8]> {
        self.bytes.get(start..end).context(DataSetSnafu { what: "an element reaches past its end" })
    }

    /// Where an element ends.
    fn end(&self, header: &Header, from: Encoding, depth: usize) -> Result<usize> {
        ensure!(depth <= DEEPEST, DataSetSnafu { what: "its sequences are nested too deeply" });
        if header.length != UNDEFINED {
            let end = header.value.checked_add(header.length as usize);
            let end = end.filter(|end| *end <= self.bytes.len());
            return end.context(DataSetSnafu { what: "an element reaches past its end" });
        }
        let inner = inner(header, from);
        let mut position = header.value;
        loop {
            let item = self.header(position, inner.unwrap_or(from))?;
            position = match (item.tag, inner) {
                (SEQUENCE_END, _) => return Ok(item.value),
                (ITEM, Some(inner)) => self.item_end(&item, inner, depth + 1)?,
                (ITEM, None) if item.length != UNDEFINED => self.end(&item, from, depth)?,
                _ => return DataSetSnafu { what: "a sequence holds something else than items" }.fail(),
            };
        }
    }

    /// Where an item ends, its delimiter included.
    fn item_end(&self, item: &Header, inner: Encoding, depth: usize) -> Result<usize> {
        if item.length != UNDEFINED {
            return self.end(item, inner, depth);
        }
        let mut position = item.value;
        loop {
            let element = self.header(position, inner)?;
            if element.tag == ITEM_END {
                return Ok(element.value);
            }
            position = self.end(&element, inner, depth)?;
        }
    }

    fn header(&self, start: usize, from: Encoding) -> Result<Header> {
        let truncated = DataSetSnafu { what: "it ends within an element" };
        let rest = self.bytes.get(start..).context(truncated)?;
        let (first, rest) = rest.split_first_chunk::<4>().context(truncated)?;
        let (second, rest) = rest.split_first_chunk::<4>().context(truncated)?;
        let u16_of = |[high, low]: [u8; 2]| match from.big_endian {
            true => u16::from_be_bytes([high, low]),
            false => u16::from_le_bytes([high, low]),
        };
        let u32_of = |word: [u8; 4]| match from.big_endian {
            true => u32::from_be_bytes(word),
            false => u32::from_le_bytes(word),
        };
        let tag = Tag(u16_of([first[0], first[1]]), u16_of([first[2], first[3]]));
        if tag.group() == 0xFFFE {
            return Ok(Header { tag, vr: VR::UN, length: u32_of(*second), start, value: start + 8 });
        }
        if !from.explicit {
            let vr = self.known_vr(tag);
            return Ok(Header { tag, vr, length: u32_of(*second), start, value: start + 8 });
        }
        let vr = VR::from_binary([second[0], second[1]]).unwrap_or(VR::UN);
        if has_short_length(vr) {
            let length = u32::from(u16_of([second[2], second[3]]));
            return Ok(Header { tag, vr, length, start, value: start + 8 });
        }
        let length = u32_of(*rest.first_chunk::<4>().context(truncated)?);
        Ok(Header { tag, vr, length, start, value: start + 12 })
    }

    /// The VR that the dictionary gives a tag (PS3.6); of those it leaves open, what suits the pixels.
    fn known_vr(&self, tag: Tag) -> VR {
        match StandardDataDictionary.by_tag(tag).map(|entry| entry.vr()) {
            None => VR::UN,
            Some(VirtualVr::Xs) if self.signed => VR::SS,
            Some(VirtualVr::Xs) => VR::US,
            Some(vr) => vr.relaxed(),
        }
    }
}

/// How the items of an element of undefined length are encoded; `None` where they are fragments.
fn inner(header: &Header, from: Encoding) -> Option<Encoding> {
    match header.vr {
        VR::OB | VR::OW => None,
        VR::UN if from.explicit => Some(IMPLICIT),
        _ => Some(from),
    }
}
