//! Reading a Part 10 file whose file meta information bends the rules (PS3.10 7.1).
//!
//! `dicom-object` refuses a file when any element of its meta group is out of bounds, also those that
//! nothing depends on: a SourceApplicationEntityTitle padded to 18 characters, as several archives write
//! it, or an ImplementationClassUID with letters in it. The data set behind it is sound; so the group is
//! rewritten before it is parsed.

use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, OpenFileOptions, ReadError};
use std::io::{Cursor, Read};

/// The preamble and the four letters after it.
const PREAMBLE: usize = 132;
/// Tag, VR and length of a short element, and of a long one.
const SHORT_HEADER: usize = 8;
const LONG_HEADER: usize = 12;
/// FileMetaInformationGroupLength as a whole.
const GROUP_LENGTH: usize = SHORT_HEADER + 4;
/// A meta group larger than this is left alone: parsing will say what it thinks of it.
const LARGEST_GROUP: usize = 1 << 16;

/// Longest AE and SH value.
const LONGEST_NAME: usize = 16;

/// Reads a Part 10 object, as [`OpenFileOptions::from_reader`] does, but forgives elements of the meta
/// group that have no bearing on the data set: they are trimmed or left out.
///
/// As `dicom-object` does, this sets memory aside for what an element's length claims: bytes from a network
/// are to be walked first, as the archive does before it stores them.
///
/// # Errors
/// Those of `dicom-object`.
pub fn read_part10<R: Read>(source: R) -> Result<DefaultDicomObject, Box<ReadError>> {
    OpenFileOptions::new().from_reader(mended(source)).map_err(Box::new)
}

/// Reads what a Part 10 object says before its pixel data, as [`read_part10`] does.
///
/// # Errors
/// Those of `dicom-object`.
pub fn read_header<R: Read>(source: R) -> Result<DefaultDicomObject, Box<ReadError>> {
    OpenFileOptions::new().read_until(tags::FLOAT_PIXEL_DATA).from_reader(mended(source)).map_err(Box::new)
}

/// The file, its meta group in bounds.
fn mended<R: Read>(mut source: R) -> impl Read {
    let mut head = Vec::new();
    // An error of the source comes up again when the rest is read.
    let _ = source.by_ref().take((PREAMBLE + GROUP_LENGTH) as u64).read_to_end(&mut head);
    if let Some(length) = group_length(&head) {
        let _ = source.by_ref().take(length as u64).read_to_end(&mut head);
        if let Some(repaired) = repaired(&head) {
            head = repaired;
        }
    }
    Cursor::new(head).chain(source)
}

/// Where the data set of a Part 10 object starts: after all elements of group 2, whatever length the group claims
/// to have. `None` where the file does not start as it should.
pub(crate) fn data_set_offset(file: &[u8]) -> Option<usize> {
    let starts = file.get(PREAMBLE - 4..PREAMBLE)? == b"DICM";
    let mut position = PREAMBLE;
    while file.get(position..position + 2) == Some(&[2, 0]) {
        let header = file.get(position..)?.first_chunk::<SHORT_HEADER>()?;
        let (start, length) = meta_element(header, file.get(position + SHORT_HEADER..)?)?;
        position = position.checked_add(start)?.checked_add(length)?;
    }
    starts.then_some(position)
}

/// Bytes of the header of an element of the meta group, and of its value. `rest`: what follows the first eight.
fn meta_element(header: &[u8; SHORT_HEADER], rest: &[u8]) -> Option<(usize, usize)> {
    if matches!(header.get(4..6)?, b"OB" | b"UN") {
        return Some((LONG_HEADER, u32::from_le_bytes(*rest.first_chunk()?) as usize));
    }
    Some((SHORT_HEADER, usize::from(u16::from_le_bytes(*header.get(6..8)?.first_chunk()?))))
}

/// The length of the meta group, where the file starts as it should.
fn group_length(head: &[u8]) -> Option<usize> {
    let (header, length) = head.get(PREAMBLE..PREAMBLE + GROUP_LENGTH)?.split_at_checked(SHORT_HEADER)?;
    let starts = head.get(PREAMBLE - 4..PREAMBLE)? == b"DICM" && header == b"\x02\x00\x00\x00UL\x04\x00";
    let length = u32::from_le_bytes(*length.first_chunk()?) as usize;
    (starts && length <= LARGEST_GROUP).then_some(length)
}

/// Preamble and meta group with their elements in bounds; None where the group cannot be walked.
fn repaired(head: &[u8]) -> Option<Vec<u8>> {
    let (preamble, mut rest) = head.split_at_checked(PREAMBLE + GROUP_LENGTH)?;
    let mut group = Vec::new();
    while !rest.is_empty() {
        let header = rest.first_chunk::<SHORT_HEADER>()?;
        let vr = header.get(4..6)?;
        let (start, length) = meta_element(header, rest.get(SHORT_HEADER..)?)?;
        let (element, after) = rest.split_at_checked(start.checked_add(length)?)?;
        let value = element.get(start..)?;
        match vr {
            b"AE" | b"SH" if value.len() > LONGEST_NAME => {
                let value = value.trim_ascii();
                if value.len() <= LONGEST_NAME {
                    let padding = value.len() % 2;
                    group.extend_from_slice(element.get(..6)?);
                    group.extend_from_slice(&((value.len() + padding) as u16).to_le_bytes());
                    group.extend_from_slice(value);
                    group.resize(group.len() + padding, b' ');
                }
            }
            b"UI" if !value.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | 0 | b' ')) => {}
            _ => group.extend_from_slice(element),
        }
        rest = after;
    }
    let mut repaired = preamble.get(..PREAMBLE + SHORT_HEADER)?.to_vec();
    repaired.extend_from_slice(&(group.len() as u32).to_le_bytes());
    repaired.append(&mut group);
    Some(repaired)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_dictionary_std::tags;

    fn file(meta: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut group = Vec::new();
        for (header, value) in meta {
            group.extend_from_slice(header);
            group.extend_from_slice(&(value.len() as u16).to_le_bytes());
            group.extend_from_slice(value);
        }
        let mut file = vec![0; 128];
        file.extend_from_slice(b"DICM\x02\x00\x00\x00UL\x04\x00");
        file.extend_from_slice(&(group.len() as u32).to_le_bytes());
        file.extend_from_slice(&group);
        file.extend_from_slice(b"\x10\x00\x20\x00LO\x02\x00P1");
        file
    }

    const SYNTAX: (&[u8], &[u8]) = (b"\x02\x00\x10\x00UI", b"1.2.840.10008.1.2.1\0");

    #[test]
    fn elements_out_of_bounds_do_not_keep_a_file_from_being_read() {
        let cases: [(&[u8], &[u8]); 4] = [
            (b"\x02\x00\x16\x00AE", b"      STORESCU      "),
            (b"\x02\x00\x16\x00AE", b"A TITLE THAT HAS MANY LETTERS "),
            (b"\x02\x00\x12\x00UI", b"1.2.24.0-beta\0"),
            (b"\x02\x00\x13\x00SH", b"A_VERSION_NAME_TOO_LONG_"),
        ];
        for element in cases {
            let bytes = file(&[SYNTAX, element]);
            assert!(dicom_object::from_reader(bytes.as_slice()).is_err());
            let object = read_part10(bytes.as_slice()).unwrap();
            assert_eq!(object.get(tags::PATIENT_ID).unwrap().to_str().unwrap(), "P1");
        }
    }

    #[test]
    fn a_title_is_kept_when_trimming_is_enough() {
        let bytes = file(&[SYNTAX, (b"\x02\x00\x16\x00AE", b"      STORESCU      ")]);
        let object = read_part10(bytes.as_slice()).unwrap();
        assert_eq!(object.meta().source_application_entity_title.as_deref(), Some("STORESCU"));
    }

    #[test]
    fn what_is_no_part_10_file_is_refused() {
        let sound = file(&[SYNTAX]);
        for bytes in [&b""[..], &[0; 200], &sound[..140], &sound[..160]] {
            assert!(read_part10(bytes).is_err());
        }
    }
}
