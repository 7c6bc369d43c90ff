//! The Native DICOM Model: DICOM JSON as XML, and back. No I/O.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part19.html#chapter_A>, and PS3.18 section F.3 for what
//! corresponds to what in DICOM JSON.
//!
//! Decisions where the standard leaves room:
//! - An empty value among others is a `Value` without text, so that its neighbours keep their numbers and the list
//!   its length.
//! - A private element is named `gggg00ee` beside its `privateCreator`, as Table A.1.5-2 asks, and finds its block
//!   again when read. Where two blocks of a group have the same creator, that name would fit both: the second keeps
//!   its whole tag, and no `privateCreator`.
//! - XML 1.0 has no place for most control characters, form feed among them: U+FFFD stands for them.

mod read;
mod write;

#[cfg(test)]
mod tests;

pub use read::{ReadError, read};
pub use write::write;

/// The media type of the model.
pub const MEDIA_TYPE: &str = "application/dicom+xml";

/// The schema's namespace (PS3.19 A.1.6).
const NAMESPACE: &str = "http://dicom.nema.org/PS3.19/models/NativeDICOM";

/// How deep sequences may nest, as in the archive.
const MAX_DEPTH: usize = 32;

/// The component groups of a person name, in their order.
const GROUPS: [&str; 3] = ["Alphabetic", "Ideographic", "Phonetic"];

/// The components of a group, in their order (PS3.5 section 6.2.1.1).
const COMPONENTS: [&str; 5] = ["FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix"];

/// Group and element of a tag in hexadecimal digits.
pub(crate) fn tag(text: &str) -> Option<(u16, u16)> {
    if text.len() != 8 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let number = u32::from_str_radix(text, 16).ok()?;
    Some(((number >> 16) as u16, (number & 0xffff) as u16))
}

/// Whether an element of a private group lies in a block (PS3.5 section 7.8.1), and is no creator itself.
fn is_in_block(group: u16, element: u16) -> bool {
    group % 2 == 1 && element >= 0x1000
}
