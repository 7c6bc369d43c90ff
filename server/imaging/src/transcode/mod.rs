//! From one transfer syntax to another (PS3.5 8 and annex A).
//!
//! Without loss, but for [`TargetSyntax::JpegBaseline`], which is for frames only: an object keeps its
//! SOPInstanceUID, and with that its pixels. What stands in unused bits of a sample means nothing and is dropped
//! where pixels are compressed or decompressed; overlays there are an obstacle to compression. Written are neither
//! JPEG XL, MPEG, JPEG 2000 Part 2 and multi-component, nor what the standard retired.

mod dataset;
mod element;
mod frame;
mod pixel_data;
mod syntax;

pub use element::word_bytes;
pub use frame::encode_frame;
pub use syntax::{SampleFormat, TargetSyntax};

use crate::error::{DataSetSnafu, Error, ReadObjectSnafu, Result, TooLargeSnafu};
use crate::part10::{data_set_offset, read_part10};
use crate::pixels::{DecodeLimits, EXPLICIT_VR_BIG_ENDIAN, PixelReader};
use dataset::{EXPLICIT, Encoding, IMPLICIT};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{
    DefaultDicomObject, FileMetaTable, IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME,
};
use flate2::read::DeflateDecoder;
use snafu::{OptionExt, ResultExt, ensure};
use std::borrow::Cow;
use std::io::Read;

/// How much memory transcoding an object may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TranscodeLimits {
    /// Of a frame.
    pub decode: DecodeLimits,
    /// Bytes of the object without compression. Transcoding takes a few times as much while it works.
    pub max_object_bytes: u64,
}

/// A transcoded object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcoded {
    /// The Part 10 object.
    pub bytes: Vec<u8>,
    /// The transfer syntax that it is in.
    pub transfer_syntax: TargetSyntax,
}

/// Writes a Part 10 object in another transfer syntax: its pixels, what describes them, and its file meta
/// information. Everything else keeps its bytes. An object without pixels has nothing to compress: where a
/// compressed transfer syntax is asked for, it comes in Explicit VR Little Endian, which those syntaxes encode
/// their elements in.
///
/// As [`read_part10`] does, this trusts the lengths of elements: bytes from a network are to be walked first.
///
/// # Errors
/// A file that does not read; pixels that the transfer syntax cannot hold ([`TargetSyntax::obstacle`]), or that
/// do not decode; an object above the limits.
pub fn transcode(file: &[u8], target: TargetSyntax, limits: TranscodeLimits) -> Result<Transcoded> {
    let object = read_part10(file, file.len() as u64).context(ReadObjectSnafu)?;
    let start = data_set_offset(file).context(DataSetSnafu { what: "it has no file meta information" })?;
    let data_set = file.get(start..).unwrap_or_default();
    let (data_set, from) = encoding(&object, data_set, limits)?;
    let (target, changes) = match PixelReader::open(&object, limits.decode) {
        Ok(reader) => (target, pixel_data::changes(&object, &reader, target, limits.max_object_bytes)?),
        Err(Error::NoPixelData) if target.is_encapsulated() => {
            (TargetSyntax::ExplicitVrLittleEndian, Vec::new())
        }
        Err(Error::NoPixelData) => (target, Vec::new()),
        Err(error) => return Err(error),
    };
    let head = head(object.meta(), target)?;
    let explicit = target != TargetSyntax::ImplicitVrLittleEndian;
    let signed = crate::attributes::integer(&object, tags::PIXEL_REPRESENTATION) == Some(1);
    drop(object);
    let bytes = dataset::rewrite(&data_set, from, explicit, signed, changes, head)?;
    Ok(Transcoded { bytes, transfer_syntax: target })
}

/// The data set inflated, and how it is encoded.
fn encoding<'a>(
    object: &DefaultDicomObject,
    data_set: &'a [u8],
    limits: TranscodeLimits,
) -> Result<(Cow<'a, [u8]>, Encoding)> {
    Ok(match object.meta().transfer_syntax() {
        uids::IMPLICIT_VR_LITTLE_ENDIAN => (data_set.into(), IMPLICIT),
        EXPLICIT_VR_BIG_ENDIAN => (data_set.into(), Encoding { explicit: true, big_endian: true }),
        uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN => {
            let limit = limits.max_object_bytes;
            let mut inflated = Vec::new();
            let read = DeflateDecoder::new(data_set).take(limit + 1).read_to_end(&mut inflated);
            ensure!(read.is_ok(), DataSetSnafu { what: "it does not inflate" });
            let needed = inflated.len() as u64;
            ensure!(needed <= limit, TooLargeSnafu { what: "an object", needed, limit });
            (inflated.into(), EXPLICIT)
        }
        _ => (data_set.into(), EXPLICIT),
    })
}

/// Preamble and file meta information (PS3.10 7.1).
fn head(meta: &FileMetaTable, target: TargetSyntax) -> Result<Vec<u8>> {
    let mut meta = meta.clone();
    meta.transfer_syntax = target.uid().to_owned();
    meta.implementation_class_uid = IMPLEMENTATION_CLASS_UID.to_owned();
    meta.implementation_version_name = Some(IMPLEMENTATION_VERSION_NAME.to_owned());
    meta.update_information_group_length();
    let mut head = vec![0; 128];
    head.extend_from_slice(b"DICM");
    let written = meta.write(&mut head);
    ensure!(written.is_ok(), DataSetSnafu { what: "its file meta information cannot be written" });
    Ok(head)
}

#[cfg(test)]
mod tests;
