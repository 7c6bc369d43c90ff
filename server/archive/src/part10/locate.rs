//! Finds one element in an object file by its path.

use super::{
    Limits, data_set, encoding, header::Header, input::Input, is_deflated, read_meta, transfer_syntax,
    unreadable, walk,
};
use crate::{BulkData, BulkValue, StoreError};
use dicom_core::Tag;
use std::{
    fs::File,
    io::{Seek, SeekFrom},
    ops::Range,
};

/// A way to an element: tag and number of the item (from 1) through each sequence, then the element's tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ElementPath {
    sequences: Vec<(Tag, usize)>,
    tag: Tag,
}

impl ElementPath {
    /// From `54000100/1/54001010`; `None` where the text is no such path.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let mut sequences = Vec::new();
        let mut tag = parse_tag(parts.next()?)?;
        while let Some(item) = parts.next() {
            sequences.push((tag, item.parse().ok()?));
            tag = parse_tag(parts.next()?)?;
        }
        Some(ElementPath { sequences, tag })
    }
}

/// A tag from eight hexadecimal digits.
pub(crate) fn parse_tag(text: &str) -> Option<Tag> {
    if text.len() != 8 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let number = u32::from_str_radix(text, 16).ok()?;
    Some(Tag((number >> 16) as u16, (number & 0xFFFF) as u16))
}

/// The element's value in the file, or `None` where the object has no such element.
pub(crate) fn locate(
    file: &mut File,
    path: &ElementPath,
    limits: &Limits,
) -> Result<Option<BulkData>, StoreError> {
    let size = file.seek(SeekFrom::End(0)).map_err(unreadable)?;
    let meta = read_meta(file, size)?;
    let syntax = transfer_syntax(&meta.transfer_syntax_uid)?;
    let mut finder =
        Finder { path, place: Vec::new(), in_file: !is_deflated(syntax), offset_table: None, found: None };
    let mut input = data_set(file, size, &meta, syntax, limits.max_instance_bytes)?;
    walk::walk(&mut input, encoding(syntax), &mut finder)?;
    drop(input);
    let Finder { offset_table, mut found, .. } = finder;
    if let (Some(range), Some(BulkData { value: BulkValue::Encapsulated { offset_table, .. }, .. })) =
        (offset_table, &mut found)
    {
        *offset_table = read_offset_table(file, range)?;
    }
    Ok(found)
}

fn read_offset_table(file: &mut File, range: Range<u64>) -> Result<Vec<u32>, StoreError> {
    file.seek(SeekFrom::Start(range.start)).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    let mut input =
        Input::bounded(super::Seekable(std::io::BufReader::new(file)), range.start, size.min(range.end));
    let bytes = input.take(range.end.saturating_sub(range.start), "the Basic Offset Table")?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|entry| u32::from_le_bytes(*entry)).collect())
}

struct Finder<'p> {
    path: &'p ElementPath,
    place: Vec<(Tag, usize)>,
    in_file: bool,
    offset_table: Option<Range<u64>>,
    found: Option<BulkData>,
}

impl Finder<'_> {
    fn is_here(&self, tag: Tag) -> bool {
        self.path.tag == tag && self.path.sequences == self.place
    }

    fn found(&mut self, header: &Header, value: BulkValue) {
        self.found = Some(BulkData { vr: header.vr, big_endian: header.encoding.big_endian, value });
    }
}

impl walk::Visitor for Finder<'_> {
    fn value(&mut self, header: &Header, length: u32, input: &mut Input) -> Result<(), StoreError> {
        if self.is_here(header.tag) {
            let length = u64::from(length);
            let value = if self.in_file {
                BulkValue::Native(input.position()..input.position() + length)
            } else {
                BulkValue::Inflated(input.take(length, &header.name())?)
            };
            self.found(header, value);
        }
        Ok(())
    }

    fn fragments(&mut self, header: &Header, items: Vec<Range<u64>>) -> Result<(), StoreError> {
        if self.is_here(header.tag) && self.in_file {
            let mut items = items.into_iter();
            self.offset_table = items.next();
            self.found(
                header,
                BulkValue::Encapsulated { offset_table: Vec::new(), fragments: items.collect() },
            );
        }
        Ok(())
    }

    fn sequence(&mut self, header: &Header) -> Result<(), StoreError> {
        self.place.push((header.tag, 0));
        Ok(())
    }

    fn item(&mut self) -> Result<(), StoreError> {
        if let Some(place) = self.place.last_mut() {
            place.1 += 1;
        }
        Ok(())
    }

    fn item_end(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn sequence_end(&mut self) -> Result<(), StoreError> {
        self.place.pop();
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.found.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read() {
        let path = ElementPath::parse("54000100/1/54001010").unwrap();
        assert_eq!(path.sequences, [(Tag(0x5400, 0x0100), 1)]);
        assert_eq!(path.tag, Tag(0x5400, 0x1010));
        assert!(ElementPath::parse("7fe00010").is_some());
        for bad in ["", "7FE0", "7FE00010/", "7FE00010/1", "7FE00010/x/7FE00010", "+7FE0010", "７FE00010"] {
            assert_eq!(ElementPath::parse(bad), None, "{bad}");
        }
    }
}
