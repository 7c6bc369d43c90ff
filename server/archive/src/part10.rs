//! Reads Part 10 objects (PS3.10): verifies that one is whole, takes its identity, and makes its DICOM JSON.

mod header;
mod input;
mod json;
mod locate;
mod text;
mod value;
mod walk;

pub(crate) use json::DataSetJson;
pub(crate) use locate::{ElementPath, locate, parse_tag};

use crate::{ArchiveOptions, InstanceUids, StoreError, StoreFailure, uid};
use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::transfer_syntax::{Codec, Endianness, TransferSyntax, TransferSyntaxIndex};
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use header::Encoding;
use input::{Input, Seekable, Sequential};
use json::JsonWriter;
use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read, Seek, SeekFrom},
    ops::Range,
};

/// What bounds the reading of one object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub max_instance_bytes: u64,
    pub max_metadata_bytes: usize,
    pub inline_binary_bytes: usize,
}

impl Limits {
    pub(crate) fn of(options: &ArchiveOptions) -> Self {
        Limits {
            max_instance_bytes: options.max_instance_bytes,
            max_metadata_bytes: options.max_metadata_bytes,
            inline_binary_bytes: options.inline_binary_bytes,
        }
    }
}

/// What the file meta information says (PS3.10 section 7.1), and where the data set begins.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FileMeta {
    pub sop_class_uid: String,
    pub sop_instance_uid: String,
    pub transfer_syntax_uid: String,
    pub data_set_offset: u64,
}

/// An object that was verified.
#[derive(Debug)]
pub(crate) struct Inspected {
    pub uids: InstanceUids,
    pub sop_class_uid: String,
    pub transfer_syntax_uid: String,
    pub size: u64,
    pub data_set_offset: u64,
    pub data_set_digest: [u8; 32],
    pub json: DataSetJson,
    /// Where PixelData's value lies in the file, uncompressed and little endian.
    pub pixel_data: Option<Range<u64>>,
}

/// Reads and verifies the whole object: header, structure to the last byte, identity.
pub(crate) fn inspect(object: &mut impl Object, limits: &Limits) -> Result<Inspected, StoreFailure> {
    let size = object.seek(SeekFrom::End(0)).map_err(unreadable)?;
    let meta = read_meta(object, size)?;
    inspect_data_set(object, size, &meta, limits).map_err(|error| StoreFailure {
        error,
        sop_class_uid: Some(meta.sop_class_uid).filter(|uid| !uid.is_empty()),
        sop_instance_uid: Some(meta.sop_instance_uid).filter(|uid| !uid.is_empty()),
    })
}

fn inspect_data_set(
    object: &mut impl Object,
    size: u64,
    meta: &FileMeta,
    limits: &Limits,
) -> Result<Inspected, StoreError> {
    let syntax = transfer_syntax(&meta.transfer_syntax_uid)?;
    let mut writer =
        JsonWriter::new(limits.inline_binary_bytes, limits.max_metadata_bytes, &meta.transfer_syntax_uid);
    let mut input = data_set(object, size, meta, syntax, limits.max_instance_bytes)?;
    walk::walk(&mut input, encoding(syntax), &mut writer)?;
    drop(input);
    let pixel_data = writer.pixel_data().filter(|_| !is_deflated(syntax) && !encoding(syntax).big_endian);
    let json = writer.finish();
    refuse_missing_pixels(&json, size)?;
    let (uids, sop_class_uid) = identity(&json, meta)?;
    let data_set_digest = object.digest(meta.data_set_offset).map_err(unreadable)?;
    Ok(Inspected {
        uids,
        sop_class_uid,
        transfer_syntax_uid: meta.transfer_syntax_uid.clone(),
        size,
        data_set_offset: meta.data_set_offset,
        data_set_digest,
        json,
        pixel_data,
    })
}

/// Reads preamble, prefix and file meta information, which is always explicit VR little endian: all elements of its group, however
/// long it claims to be.
pub(crate) fn read_meta(object: &mut (impl Read + Seek), size: u64) -> Result<FileMeta, StoreError> {
    object.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let mut input = Input::bounded(Seekable(BufReader::new(object)), 0, size);
    let prefix = input.skip(128, "the preamble").and_then(|()| input.array::<4>("the prefix"));
    if !matches!(prefix, Ok([b'D', b'I', b'C', b'M'])) {
        return Err(StoreError::NotDicom);
    }
    let mut meta = FileMeta::default();
    let mut claimed = None;
    loop {
        let offset = input.position();
        meta.data_set_offset = offset;
        // Some writers count wrong; but what is deflated may begin with any bytes, also those of a meta element.
        let is_at_deflated =
            claimed == Some(offset) && meta.transfer_syntax_uid == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN;
        if is_at_deflated || (offset > HEADER_BYTES && input.at_end()?) {
            return Ok(meta);
        }
        let tag = header::read_tag(&mut input, Encoding::EXPLICIT_LITTLE)?;
        if tag.group() != 2 {
            return if offset == HEADER_BYTES { Err(no_meta(offset)) } else { Ok(meta) };
        }
        let header = header::read_rest(&mut input, Encoding::EXPLICIT_LITTLE, tag)?;
        let Some(length) = header.length else { return Err(no_meta(offset)) };
        let field = match header.tag {
            tags::FILE_META_INFORMATION_GROUP_LENGTH if length == 4 => {
                let length = u32::from_le_bytes(input.array(&header.name())?);
                claimed = Some(input.position().saturating_add(u64::from(length)));
                continue;
            }
            tags::MEDIA_STORAGE_SOP_CLASS_UID => &mut meta.sop_class_uid,
            tags::MEDIA_STORAGE_SOP_INSTANCE_UID => &mut meta.sop_instance_uid,
            tags::TRANSFER_SYNTAX_UID => &mut meta.transfer_syntax_uid,
            _ => {
                input.skip(u64::from(length), &header.name())?;
                continue;
            }
        };
        let bytes = input.take(u64::from(length), &header.name())?;
        *field = String::from_utf8_lossy(&bytes).trim_matches(|c| c == '\0' || c == ' ').to_owned();
    }
}

fn no_meta(offset: u64) -> StoreError {
    StoreError::Malformed { offset, problem: "there is no file meta information".to_owned() }
}

/// Bytes of preamble and prefix.
const HEADER_BYTES: u64 = 132;

/// The transfer syntax, if Engram can read a data set in it.
fn transfer_syntax(uid: &str) -> Result<&'static TransferSyntax, StoreError> {
    if uid.is_empty() {
        return Err(StoreError::MissingUid { attribute: "TransferSyntaxUID" });
    }
    TransferSyntaxRegistry
        .get(uid)
        .filter(|syntax| !matches!(syntax.codec(), Codec::Dataset(None)))
        .ok_or_else(|| StoreError::TransferSyntax { uid: uid.to_owned() })
}

fn is_deflated(syntax: &TransferSyntax) -> bool {
    matches!(syntax.codec(), Codec::Dataset(_))
}

fn encoding(syntax: &TransferSyntax) -> Encoding {
    Encoding {
        explicit_vr: syntax.uid() != uids::IMPLICIT_VR_LITTLE_ENDIAN,
        big_endian: syntax.endianness() == Endianness::Big,
    }
}

/// The data set's bytes, inflated where the transfer syntax deflates.
fn data_set<'f>(
    object: &'f mut (impl Read + Seek),
    size: u64,
    meta: &FileMeta,
    syntax: &'static TransferSyntax,
    limit: u64,
) -> Result<Input<'f>, StoreError> {
    object.seek(SeekFrom::Start(meta.data_set_offset)).map_err(unreadable)?;
    match syntax.codec() {
        Codec::Dataset(Some(adapter)) => {
            let inflated = adapter.adapt_reader(Box::new(BufReader::new(object)));
            Ok(Input::unbounded(Sequential(BufReader::new(inflated)), limit))
        }
        _ => Ok(Input::bounded(Seekable(BufReader::new(object)), meta.data_set_offset, size)),
    }
}

/// Refuses an Image Pixel module (PS3.3 section C.7.6.3) that describes pixels and has none: a file cut
/// between two elements.
fn refuse_missing_pixels(json: &DataSetJson, size: u64) -> Result<(), StoreError> {
    let has = |tag: &Tag| json.elements.contains_key(tag);
    let describes =
        [tags::ROWS, tags::COLUMNS, tags::BITS_ALLOCATED, tags::PIXEL_REPRESENTATION].iter().all(has);
    let holds = [
        tags::PIXEL_DATA,
        tags::FLOAT_PIXEL_DATA,
        tags::DOUBLE_FLOAT_PIXEL_DATA,
        tags::PIXEL_DATA_PROVIDER_URL,
    ];
    if describes && !holds.iter().any(has) {
        return Err(StoreError::Truncated {
            offset: size,
            element: "PixelData, which never begins".to_owned(),
        });
    }
    Ok(())
}

/// The data set's UIDs. Its SOP class must be the one in the file meta information, which chose how the
/// object is understood; a SOPInstanceUID that differs there is left behind by software that gives an
/// object a new UID, and the data set is right.
fn identity(json: &DataSetJson, meta: &FileMeta) -> Result<(InstanceUids, String), StoreError> {
    let read = |tag: Tag, attribute: &'static str| uid::checked(json.text(tag), attribute);
    let sop_class_uid = read(tags::SOP_CLASS_UID, "SOPClassUID")?;
    let uids = InstanceUids {
        study_instance_uid: read(tags::STUDY_INSTANCE_UID, "StudyInstanceUID")?,
        series_instance_uid: read(tags::SERIES_INSTANCE_UID, "SeriesInstanceUID")?,
        sop_instance_uid: read(tags::SOP_INSTANCE_UID, "SOPInstanceUID")?,
    };
    if meta.sop_class_uid != sop_class_uid {
        let (meta, data_set) = (meta.sop_class_uid.clone(), sop_class_uid);
        return Err(StoreError::MetaMismatch { attribute: "SOPClassUID", meta, data_set });
    }
    if meta.sop_instance_uid != uids.sop_instance_uid {
        let sop_instance_uid = &uids.sop_instance_uid;
        tracing::warn!(
            sop_instance_uid,
            meta.sop_instance_uid,
            "the file meta information names another instance"
        );
    }
    Ok((uids, sop_class_uid))
}

/// A Part 10 object's bytes.
pub(crate) trait Object: Read + Seek {
    /// BLAKE3 of the bytes from `offset` on. Every object stored is read for it: SHA-256 was two thirds of what storing costs
    /// on processors without instructions for it, BLAKE3 a twentieth of that.
    fn digest(&mut self, offset: u64) -> io::Result<[u8; 32]>;
}

impl Object for File {
    fn digest(&mut self, offset: u64) -> io::Result<[u8; 32]> {
        self.seek(SeekFrom::Start(offset))?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(self)?;
        Ok(hasher.finalize().into())
    }
}

impl Object for Cursor<&[u8]> {
    fn digest(&mut self, offset: u64) -> io::Result<[u8; 32]> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        Ok(blake3::hash(self.get_ref().get(offset..).unwrap_or_default()).into())
    }
}

fn unreadable(source: io::Error) -> StoreError {
    StoreError::Unreadable { offset: 0, source }
}
