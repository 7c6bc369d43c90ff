//! Walks over a data set element by element, so that every byte is accounted for.

use super::{
    header::{self, Encoding, Header, ITEM, ITEM_DELIMITER, PIXEL_DATA, SEQUENCE_DELIMITER},
    input::Input,
};
use crate::StoreError;
use dicom_core::{Tag, VR};
use std::ops::Range;

/// How deep sequences may nest. serde_json reads 128 levels; a DICOM level takes three.
const MAX_DEPTH: usize = 32;

/// The most fragments one pixel data element may have: each takes 16 bytes of memory.
const MAX_FRAGMENTS: usize = 1 << 20;

/// What a walk tells, in the order of the data set.
pub(crate) trait Visitor {
    /// An element with a value of `length` bytes at the input's position. The visitor may read it whole, or
    /// leave it to be passed over.
    fn value(&mut self, header: &Header, length: u32, input: &mut Input) -> Result<(), StoreError>;

    /// Encapsulated pixel data: its items' contents, the Basic Offset Table first.
    fn fragments(&mut self, header: &Header, items: Vec<Range<u64>>) -> Result<(), StoreError>;

    /// A sequence begins.
    fn sequence(&mut self, header: &Header) -> Result<(), StoreError>;

    /// An item of the innermost sequence begins.
    fn item(&mut self) -> Result<(), StoreError>;

    /// The innermost item ends.
    fn item_end(&mut self) -> Result<(), StoreError>;

    /// The innermost sequence ends.
    fn sequence_end(&mut self) -> Result<(), StoreError>;

    /// Whether the rest need not be walked.
    fn is_done(&self) -> bool {
        false
    }
}

/// Walks from the input's position to its end.
pub(crate) fn walk(
    input: &mut Input,
    encoding: Encoding,
    visitor: &mut impl Visitor,
) -> Result<(), StoreError> {
    while !visitor.is_done() && !input.at_end()? {
        let offset = input.position();
        let tag = header::read_tag(input, encoding)?;
        if tag == ZEROS {
            return input.pass_zeros("the zeros that pad the object");
        }
        let header = header::read_rest(input, encoding, tag)?;
        match (tag.group(), header.length) {
            // Left in the data set by some writers, which others pass over, too.
            (0x0000 | 0x0002, Some(length)) => input.skip(u64::from(length), &header.name())?,
            (0x0000..0x0008 | 0xFFFE, _) => {
                let problem = format!("{} does not belong there", header.name());
                return Err(StoreError::Malformed { offset, problem });
            }
            _ => element(input, encoding, visitor, &header, Extent::FILE, 0)?,
        }
    }
    Ok(())
}

/// What zeros look like that fill a file up to a whole number of blocks. No data set has that element.
const ZEROS: Tag = Tag(0, 0);

/// Where something ends: where its own length says, or the innermost enclosing length if it has none.
#[derive(Clone, Copy)]
struct Extent {
    end: Option<u64>,
    bound: Option<u64>,
}

impl Extent {
    const FILE: Extent = Extent { end: None, bound: None };

    /// What begins at `start` in this extent with this length; refused where it claims more than what it lies in.
    fn within(self, header: &Header, start: u64) -> Result<Extent, StoreError> {
        let end = header.length.map(|length| start + u64::from(length));
        match (end, self.bound) {
            (Some(end), Some(bound)) if end > bound => {
                let problem = format!("{} claims more bytes than what it lies in", header.name());
                Err(StoreError::Malformed { offset: start, problem })
            }
            _ => Ok(Extent { end, bound: end.or(self.bound) }),
        }
    }

    /// Whether there is more at `position`.
    fn goes_on(self, position: u64) -> Result<bool, StoreError> {
        match (self.end, self.bound) {
            (Some(end), _) => Ok(position < end),
            (None, Some(bound)) if position >= bound => {
                let problem = "a sequence or item has neither a length nor a delimiter".to_owned();
                Err(StoreError::Malformed { offset: position, problem })
            }
            _ => Ok(true),
        }
    }
}

/// Walks over one element whose header has been read.
fn element(
    input: &mut Input,
    encoding: Encoding,
    visitor: &mut impl Visitor,
    header: &Header,
    within: Extent,
    depth: usize,
) -> Result<(), StoreError> {
    let start = input.position();
    let extent = within.within(header, start)?;
    if let Some(length) = header.length {
        input.claim(u64::from(length), &header.name())?;
    }
    match (header.vr, header.length) {
        (VR::SQ, _) => sequence(input, encoding, visitor, header, extent, depth),
        // PS3.5 section 6.2.2, note 4: UN of undefined length is a sequence in implicit VR little endian.
        (VR::UN, None) => {
            let implicit = Encoding { explicit_vr: false, big_endian: false };
            let header = Header { vr: VR::SQ, encoding: implicit, ..*header };
            sequence(input, implicit, visitor, &header, extent, depth)
        }
        (_, None) if header.tag == PIXEL_DATA => fragments(input, encoding, visitor, header),
        (_, None) => {
            let problem = format!("{} has an undefined length", header.name());
            Err(StoreError::Malformed { offset: start, problem })
        }
        (_, Some(length)) => {
            visitor.value(header, length, input)?;
            let rest = (start + u64::from(length)).saturating_sub(input.position());
            input.skip(rest, &header.name())
        }
    }
}

fn sequence(
    input: &mut Input,
    encoding: Encoding,
    visitor: &mut impl Visitor,
    header: &Header,
    extent: Extent,
    depth: usize,
) -> Result<(), StoreError> {
    if depth >= MAX_DEPTH {
        let problem = format!("sequences nest deeper than {MAX_DEPTH}");
        return Err(StoreError::Malformed { offset: input.position(), problem });
    }
    visitor.sequence(header)?;
    while !visitor.is_done() && extent.goes_on(input.position())? {
        let offset = input.position();
        let item = header::read(input, encoding)?;
        match item.tag {
            SEQUENCE_DELIMITER if extent.end.is_none() => break,
            // Some writers end a sequence twice: by its length, and by a delimiter within.
            SEQUENCE_DELIMITER if item.length == Some(0) => {}
            ITEM => {
                let extent = extent.within(&item, input.position())?;
                visitor.item()?;
                item_elements(input, encoding, visitor, extent, depth + 1)?;
                visitor.item_end()?;
            }
            other => {
                let problem = format!("{other} stands where an item of {} belongs", header.name());
                return Err(StoreError::Malformed { offset, problem });
            }
        }
    }
    visitor.sequence_end()
}

fn item_elements(
    input: &mut Input,
    encoding: Encoding,
    visitor: &mut impl Visitor,
    extent: Extent,
    depth: usize,
) -> Result<(), StoreError> {
    while !visitor.is_done() && extent.goes_on(input.position())? {
        let offset = input.position();
        let header = header::read(input, encoding)?;
        if header.tag == ITEM_DELIMITER && extent.end.is_none() {
            return Ok(());
        }
        if header.tag == ITEM_DELIMITER && header.length == Some(0) {
            continue;
        }
        if header.tag.group() == 0xFFFE {
            let problem = format!("{} stands inside an item", header.tag);
            return Err(StoreError::Malformed { offset, problem });
        }
        element(input, encoding, visitor, &header, extent, depth)?;
    }
    Ok(())
}

/// PS3.5 section A.4.
fn fragments(
    input: &mut Input,
    encoding: Encoding,
    visitor: &mut impl Visitor,
    header: &Header,
) -> Result<(), StoreError> {
    let mut items = Vec::new();
    loop {
        let offset = input.position();
        let item = header::read(input, encoding)?;
        match (item.tag, item.length) {
            (SEQUENCE_DELIMITER, _) => return visitor.fragments(header, items),
            (ITEM, Some(length)) => {
                let start = input.position();
                input.skip(u64::from(length), "a fragment of the pixel data")?;
                items.push(start..input.position());
                if items.len() > MAX_FRAGMENTS {
                    let problem = format!("the pixel data has more than {MAX_FRAGMENTS} fragments");
                    return Err(StoreError::Malformed { offset, problem });
                }
            }
            (other, _) => {
                let problem = format!("{other} stands where a fragment of the pixel data belongs");
                return Err(StoreError::Malformed { offset, problem });
            }
        }
    }
}
