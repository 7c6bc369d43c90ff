//! Reading a Part 10 file whose file meta information bends the rules (PS3.10 7.1).
//!
//! `dicom-object` refuses a file when any element of its meta group is out of bounds, also those that
//! nothing depends on: a SourceApplicationEntityTitle padded to 18 characters, as several archives write
//! it, or an ImplementationClassUID with letters in it; and when the group is not as long as it says. The data set behind it is
//! sound; so the group is rewritten before it is parsed.

use crate::error::{DataSetSnafu, ReadObjectSnafu, Result};
use dicom_core::Tag;
use dicom_core::header::{DataElementHeader, Length, SequenceItemHeader};
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::decode::{self, DecodeFrom};
use dicom_encoding::text::SpecificCharacterSet;
use dicom_encoding::transfer_syntax::{Codec, DynDecoder, TransferSyntax, TransferSyntaxIndex};
use dicom_object::{DefaultDicomObject, FileMetaTable, InMemDicomObject, ReadError};
use dicom_parser::StatefulDecoder;
use dicom_parser::dataset::LazyDataToken;
use dicom_parser::dataset::lazy_read::LazyDataSetReader;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use snafu::{OptionExt, ResultExt, ensure};
use std::cell::Cell;
use std::io::{self, BufReader, Cursor, Read, Seek, Take};
use std::rc::Rc;

/// The preamble and the four letters after it.
const PREAMBLE: usize = 132;
/// Tag, VR and length of a short element, and of a long one.
const SHORT_HEADER: usize = 8;
const LONG_HEADER: usize = 12;
/// A meta group larger than this is left alone: parsing will say what it thinks of it.
const LARGEST_GROUP: usize = 1 << 16;

/// Longest AE and SH value.
const LONGEST_NAME: usize = 16;

/// The most that deflate can make of a byte.
const MOST_INFLATION: u64 = 1032;

/// Reads a Part 10 object of `length` bytes, as `dicom_object::from_reader` does, but forgives elements of the meta
/// group that have no bearing on the data set: they are trimmed or left out. No element may claim more bytes than
/// there are left, so that memory is set aside for what is there alone; `dicom-object` believes what is claimed.
///
/// # Errors
/// Those of `dicom-object`.
pub fn read_part10<R: Read>(source: R, length: u64) -> Result<DefaultDicomObject, Box<ReadError>> {
    read_data_set(source, |syntax| bound(syntax, length))
}

/// Reads an object whose data set, inflated where it is deflated, is taken to have so many bytes.
fn read_data_set<R: Read>(
    source: R,
    bytes: impl Fn(&TransferSyntax) -> u64,
) -> Result<DefaultDicomObject, Box<ReadError>> {
    let mut source = mended(source);
    let meta = read_meta(&mut source)?;
    let data_set = match decoder(Box::new(source), meta.transfer_syntax(), bytes, Rc::default()) {
        Some(decoder) => InMemDicomObject::read_dataset(decoder)?,
        None => return Err(unsupported(&meta)),
    };
    Ok(data_set.with_exact_meta(meta))
}

/// The most bytes that the data set of a file of `length` bytes can have once it is inflated.
fn bound(syntax: &TransferSyntax, length: u64) -> u64 {
    match syntax.codec() {
        Codec::Dataset(_) => length.saturating_mul(MOST_INFLATION),
        _ => length,
    }
}

/// Reads what a Part 10 object of `length` bytes says before its pixel data, as [`read_part10`] does.
///
/// # Errors
/// Those of `dicom-object`; an element that claims more bytes than there are.
pub fn read_header<R: Read + Seek>(mut source: R, length: u64) -> Result<DefaultDicomObject> {
    let bytes = bytes_before_pixels(&mut source, length)?;
    let rewound = source.rewind();
    ensure!(rewound.is_ok(), DataSetSnafu { what: "it cannot be read again" });
    read_data_set(source, |_| bytes).context(ReadObjectSnafu)
}

/// How many bytes of the data set, inflated where it is deflated, come before the pixel data. Fails where an element among
/// them claims more bytes than there are.
fn bytes_before_pixels<R: Read>(source: R, length: u64) -> Result<u64> {
    let mut source = mended(source);
    let meta = read_meta(&mut source).context(ReadObjectSnafu)?;
    let count = Rc::new(Cell::new(0));
    let counted = Rc::clone(&count);
    let decoder = decoder(Box::new(source), meta.transfer_syntax(), |syntax| bound(syntax, length), counted);
    let mut tokens =
        LazyDataSetReader::new(decoder.context(DataSetSnafu { what: "its encoding is unknown" })?);
    let mut depth = 0usize;
    let broken = || DataSetSnafu { what: "an element does not end" };
    loop {
        let before = count.get();
        let Some(token) = tokens.advance() else { return Ok(before) };
        match token.ok().context(broken())? {
            LazyDataToken::ElementHeader(header) if depth == 0 && header.tag >= tags::FLOAT_PIXEL_DATA => {
                return Ok(before);
            }
            LazyDataToken::PixelSequenceStart if depth == 0 => return Ok(before),
            LazyDataToken::SequenceStart { .. } | LazyDataToken::PixelSequenceStart => depth += 1,
            LazyDataToken::SequenceEnd => depth = depth.saturating_sub(1),
            token => token.skip().ok().context(broken())?,
        }
    }
}

/// Preamble, prefix and file meta information; the source is left at the data set.
fn read_meta(source: &mut impl Read) -> Result<FileMetaTable, Box<ReadError>> {
    let preamble = (PREAMBLE - 4) as u64;
    // A file that ends here has no file meta information either, which is the better error.
    let _ = io::copy(&mut source.by_ref().take(preamble), &mut io::sink());
    FileMetaTable::from_reader(source).map_err(|source| Box::new(ReadError::ParseMetaDataSet { source }))
}

/// The error of `dicom-object` for an object whose data set has no decoder.
fn unsupported(meta: &FileMetaTable) -> Box<ReadError> {
    Box::new(ReadError::ReadUnrecognizedTransferSyntax {
        uid: meta.transfer_syntax().to_owned(),
        backtrace: snafu::GenerateImplicitData::generate(),
    })
}

type DataSetSource<'r> = Take<Counted<'r>>;

/// A source that counts the bytes that are read of it.
struct Counted<'r> {
    source: Box<dyn Read + 'r>,
    count: Rc<Cell<u64>>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.count.set(self.count.get() + read as u64);
        Ok(read)
    }
}

/// A decoder of the data set, inflated, of which `bytes` are read and `count`ed; `None` where the transfer syntax is
/// unknown.
fn decoder<'r>(
    source: Box<dyn Read + 'r>,
    transfer_syntax: &str,
    bytes: impl Fn(&TransferSyntax) -> u64,
    count: Rc<Cell<u64>>,
) -> Option<StatefulDecoder<Bounded<DynDecoder<DataSetSource<'r>>>, DataSetSource<'r>>> {
    let syntax = TransferSyntaxRegistry.get(transfer_syntax)?;
    let source: Box<dyn Read + 'r> = match syntax.codec() {
        Codec::Dataset(Some(adapter)) => Box::new(BufReader::new(adapter.adapt_reader(source))),
        Codec::Dataset(None) => return None,
        Codec::None | Codec::EncapsulatedPixelData(..) => Box::new(BufReader::new(source)),
    };
    let decoder = Bounded(syntax.decoder_for::<DataSetSource<'r>>()?);
    let source = Counted { source, count }.take(bytes(syntax));
    Some(StatefulDecoder::new(source, decoder, syntax.basic_decoder(), SpecificCharacterSet::default()))
}

/// What zeros look like that fill a file up to a whole number of blocks: its end.
const ZEROS: Tag = Tag(0, 0);

/// A decoder that refuses what claims more bytes than its source has.
struct Bounded<D>(D);

impl<R: Read, D: DecodeFrom<Take<R>>> DecodeFrom<Take<R>> for Bounded<D> {
    fn decode_header(&self, source: &mut Take<R>) -> decode::Result<(DataElementHeader, usize)> {
        let (header, read) = self.0.decode_header(source)?;
        if header.tag == ZEROS {
            let source = io::ErrorKind::UnexpectedEof.into();
            return Err(decode::Error::ReadHeaderTag { backtrace: None, source });
        }
        ensure_there(header.len, source)?;
        Ok((header, read))
    }

    fn decode_item_header(&self, source: &mut Take<R>) -> decode::Result<SequenceItemHeader> {
        let header = self.0.decode_item_header(source)?;
        if let SequenceItemHeader::Item { len } = header {
            ensure_there(len, source)?;
        }
        Ok(header)
    }

    fn decode_tag(&self, source: &mut Take<R>) -> decode::Result<Tag> {
        self.0.decode_tag(source)
    }
}

fn ensure_there<R>(claimed: Length, source: &Take<R>) -> decode::Result<()> {
    match claimed.get() {
        Some(length) if u64::from(length) > source.limit() => {
            let source =
                io::Error::new(io::ErrorKind::InvalidData, "a value claims more bytes than there are");
            Err(decode::Error::ReadHeaderTag { backtrace: None, source })
        }
        _ => Ok(()),
    }
}

/// The file, its meta group in bounds and as long as it says.
fn mended<R: Read>(mut source: R) -> impl Read {
    let mut head = Vec::new();
    let repaired = repaired(&mut source, &mut head);
    Cursor::new(repaired.unwrap_or(head)).chain(source)
}

/// Where the data set of a Part 10 object starts: after all elements of group 2, whatever length the group claims
/// to have. `None` where the file does not start as it should.
pub fn data_set_offset(file: &[u8]) -> Option<usize> {
    let starts = file.get(PREAMBLE - 4..PREAMBLE)? == b"DICM";
    let mut position = PREAMBLE;
    while file.get(position..position + 2) == Some(&[2, 0]) {
        let header = file.get(position..)?.first_chunk::<SHORT_HEADER>()?;
        let (start, length) = meta_element(header, file.get(position + SHORT_HEADER..)?)?;
        position = position.checked_add(start)?.checked_add(length)?;
    }
    starts.then_some(position)
}

/// Whether the header of an element of the meta group is a long one.
fn is_long(header: &[u8]) -> bool {
    matches!(header.get(4..6), Some(b"OB" | b"UN"))
}

/// Bytes of the header of an element of the meta group, and of its value. `rest`: what follows the first eight.
fn meta_element(header: &[u8; SHORT_HEADER], rest: &[u8]) -> Option<(usize, usize)> {
    if is_long(header) {
        return Some((LONG_HEADER, u32::from_le_bytes(*rest.first_chunk()?) as usize));
    }
    Some((SHORT_HEADER, usize::from(u16::from_le_bytes(*header.get(6..8)?.first_chunk()?))))
}

/// Reads preamble and meta group to `head`, and the header that follows them; returns the same with its elements in bounds. `None`
/// where the group cannot be walked.
fn repaired(source: &mut impl Read, head: &mut Vec<u8>) -> Option<Vec<u8>> {
    read_more(source, head, PREAMBLE)?;
    if !head.ends_with(b"DICM") {
        return None;
    }
    let (mut group, mut claimed, mut is_deflated) = (Vec::new(), None, false);
    let data_set = loop {
        let at = head.len();
        // What is deflated may begin with any bytes, also those of a meta element.
        if is_deflated && claimed == Some(at) {
            break at;
        }
        if read_more(source, head, SHORT_HEADER).is_none() || head.get(at..at + 2)? != [2, 0] {
            break at;
        }
        if is_long(head.get(at..)?) {
            read_more(source, head, LONG_HEADER - SHORT_HEADER)?;
        }
        let header = head.get(at..)?;
        let (start, length) = meta_element(header.first_chunk()?, header.get(SHORT_HEADER..)?)?;
        if at + length > LARGEST_GROUP {
            return None;
        }
        read_more(source, head, length)?;
        let element = head.get(at..)?;
        let value = element.get(start..)?;
        match element.get(2..4)? {
            [0x00, 0x00] => {
                let length = u32::from_le_bytes(*value.first_chunk()?) as usize;
                claimed = head.len().checked_add(length);
                continue;
            }
            [0x10, 0x00] => {
                is_deflated = value.starts_with(uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN.as_bytes())
            }
            _ => {}
        }
        put_in_bounds(&mut group, element, start)?;
    };
    let mut repaired = head.get(..PREAMBLE)?.to_vec();
    repaired.extend_from_slice(b"\x02\x00\x00\x00UL\x04\x00");
    repaired.extend_from_slice(&(group.len() as u32).to_le_bytes());
    repaired.append(&mut group);
    repaired.extend_from_slice(head.get(data_set..)?);
    Some(repaired)
}

/// Reads so many bytes more; `None` where there are fewer. An error of the source comes up again when the rest is read.
fn read_more(source: &mut impl Read, head: &mut Vec<u8>, count: usize) -> Option<()> {
    let read = source.by_ref().take(count as u64).read_to_end(head);
    (read.ok()? == count).then_some(())
}

/// Appends an element of the meta group, whose value begins at `start`: trimmed where that brings it in bounds, else not at all.
fn put_in_bounds(group: &mut Vec<u8>, element: &[u8], start: usize) -> Option<()> {
    let value = element.get(start..)?;
    match element.get(4..6)? {
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
    Some(())
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
            let object = read_part10(bytes.as_slice(), bytes.len() as u64).unwrap();
            assert_eq!(object.get(tags::PATIENT_ID).unwrap().to_str().unwrap(), "P1");
        }
    }

    #[test]
    fn a_title_is_kept_when_trimming_is_enough() {
        let bytes = file(&[SYNTAX, (b"\x02\x00\x16\x00AE", b"      STORESCU      ")]);
        let object = read_part10(bytes.as_slice(), bytes.len() as u64).unwrap();
        assert_eq!(object.meta().source_application_entity_title.as_deref(), Some("STORESCU"));
    }

    #[test]
    fn what_is_no_part_10_file_is_refused() {
        let sound = file(&[SYNTAX]);
        for bytes in [&b""[..], &[0; 200], &sound[..140], &sound[..160]] {
            assert!(read_part10(bytes, bytes.len() as u64).is_err());
        }
    }
}
