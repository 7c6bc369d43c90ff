//! One element's header (PS3.5 section 7.1), in each of the three encodings.

use super::input::Input;
use crate::StoreError;
use dicom_core::{
    DataDictionary, Tag, VR,
    dictionary::{DataDictionaryEntry, VirtualVr},
};
use dicom_dictionary_std::StandardDataDictionary;
use std::fmt;

/// The length that stands for "until the delimiter".
const UNDEFINED: u32 = 0xFFFF_FFFF;

const TAG_BYTES: u64 = 4;

pub(crate) const ITEM: Tag = Tag(0xFFFE, 0xE000);
pub(crate) const ITEM_DELIMITER: Tag = Tag(0xFFFE, 0xE00D);
pub(crate) const SEQUENCE_DELIMITER: Tag = Tag(0xFFFE, 0xE0DD);
pub(crate) const PIXEL_DATA: Tag = Tag(0x7FE0, 0x0010);

/// How elements are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Encoding {
    pub explicit_vr: bool,
    pub big_endian: bool,
}

impl Encoding {
    pub(crate) const EXPLICIT_LITTLE: Encoding = Encoding { explicit_vr: true, big_endian: false };

    pub(crate) fn u16(self, bytes: [u8; 2]) -> u16 {
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    pub(crate) fn u32(self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }
}

/// An element's tag, VR and length; `None` is an undefined length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub tag: Tag,
    pub vr: VR,
    /// What the dictionary says where the encoding is silent and the VR depends on context.
    pub depends_on_pixel_representation: bool,
    pub length: Option<u32>,
    /// How the value is encoded.
    pub encoding: Encoding,
}

impl Header {
    /// How errors name the element.
    pub(crate) fn name(&self) -> Name {
        Name(self.tag)
    }
}

/// A tag with its keyword, as errors show it. Looked up when it is shown: every element passes by, few have an error.
pub(crate) struct Name(Tag);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Name(tag) = self;
        match StandardDataDictionary.by_tag(*tag) {
            Some(entry) => write!(f, "{} {tag}", entry.alias()),
            None => write!(f, "{tag}"),
        }
    }
}

/// Reads the header of an element, an item or a delimiter.
pub(crate) fn read(input: &mut Input, encoding: Encoding) -> Result<Header, StoreError> {
    let tag = read_tag(input, encoding)?;
    read_rest(input, encoding, tag)
}

/// Reads what a header begins with.
pub(crate) fn read_tag(input: &mut Input, encoding: Encoding) -> Result<Tag, StoreError> {
    let group = encoding.u16(input.array("an element's tag")?);
    let element = encoding.u16(input.array("an element's tag")?);
    Ok(Tag(group, element))
}

/// Reads what follows the tag.
pub(crate) fn read_rest(input: &mut Input, encoding: Encoding, tag: Tag) -> Result<Header, StoreError> {
    let offset = input.position().saturating_sub(TAG_BYTES);
    if tag.group() == 0xFFFE {
        let length = encoding.u32(input.array("an item's length")?);
        return Ok(Header {
            tag,
            vr: VR::UN,
            depends_on_pixel_representation: false,
            length: defined(length),
            encoding,
        });
    }
    if encoding.explicit_vr { explicit(input, encoding, tag, offset) } else { implicit(input, encoding, tag) }
}

fn explicit(input: &mut Input, encoding: Encoding, tag: Tag, offset: u64) -> Result<Header, StoreError> {
    let letters: [u8; 2] = input.array("an element's VR")?;
    if !letters.iter().all(u8::is_ascii_uppercase) {
        let problem = format!("{} has no value representation", Name(tag));
        return Err(StoreError::Malformed { offset, problem });
    }
    // A VR of a later edition of the standard has the long form (PS3.5 section 7.1.2) and is kept as UN.
    let vr = VR::from_binary(letters).unwrap_or(VR::UN);
    let length = if has_short_length(vr) {
        Some(u32::from(encoding.u16(input.array("an element's length")?)))
    } else {
        let _reserved: [u8; 2] = input.array("an element's length")?;
        defined(encoding.u32(input.array("an element's length")?))
    };
    Ok(Header { tag, vr, depends_on_pixel_representation: false, length, encoding })
}

fn implicit(input: &mut Input, encoding: Encoding, tag: Tag) -> Result<Header, StoreError> {
    let length = defined(encoding.u32(input.array("an element's length")?));
    let known = StandardDataDictionary.by_tag(tag).map(|entry| entry.vr());
    let vr = match known {
        Some(VirtualVr::Exact(vr)) => vr,
        Some(VirtualVr::Xs) => VR::US,
        Some(VirtualVr::Ox | VirtualVr::Px | VirtualVr::Lt) => VR::OW,
        Some(_) | None => VR::UN,
    };
    // An unknown element of undefined length can only be a sequence (PS3.5 section 7.5.1).
    let vr = if vr == VR::UN && length.is_none() { VR::SQ } else { vr };
    Ok(Header {
        tag,
        vr,
        depends_on_pixel_representation: matches!(known, Some(VirtualVr::Xs)),
        length,
        encoding,
    })
}

fn defined(length: u32) -> Option<u32> {
    (length != UNDEFINED).then_some(length)
}

/// PS3.5 Table 7.1-2.
fn has_short_length(vr: VR) -> bool {
    use VR::*;
    matches!(
        vr,
        AE | AS
            | AT
            | CS
            | DA
            | DS
            | DT
            | FL
            | FD
            | IS
            | LO
            | LT
            | PN
            | SH
            | SL
            | SS
            | ST
            | TM
            | UI
            | UL
            | US
    )
}
