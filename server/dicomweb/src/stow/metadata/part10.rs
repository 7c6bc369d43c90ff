//! Writes a Part 10 object from DICOM JSON and bulk data (PS3.10 section 7), a stretch of a file at a time.

use std::io::{self, Read, Write};

use dicom_core::header::Length;
use dicom_core::{DataElementHeader, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::encode::Encode;
use dicom_encoding::encode::explicit_le::ExplicitVRLittleEndianEncoder;
use dicom_encoding::text::SpecificCharacterSet;
use dicom_object::FileMetaTableBuilder;
use dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN;
use serde_json::Value;
use snafu::ResultExt;

use super::bulk_data::{BulkData, BulkPart};
use super::element::{self, Elements, name};
use super::error::{
    ElementSnafu, EncodeSnafu, NoBulkDataSnafu, PixelEncodingSnafu, ReadBackSnafu, Result, WriteSnafu,
};
use crate::wado::video;

/// The longest value that a 32-bit length can tell; even, and not the undefined length (PS3.5 section 7.1.1).
const MAX_LENGTH: u64 = 0xFFFF_FFFE;
const UNDEFINED: u32 = 0xFFFF_FFFF;

/// What names the object.
pub struct Identity<'a> {
    pub sop_class_uid: &'a str,
    pub sop_instance_uid: &'a str,
    pub transfer_syntax_uid: &'a str,
}

/// Writes one object. Tells whether a decimal had to be rounded.
pub fn write(
    out: impl Write,
    identity: &Identity,
    elements: Elements,
    bulk_data: &BulkData,
    encapsulated: bool,
) -> Result<bool> {
    let frames = element::first_text(&elements, tags::NUMBER_OF_FRAMES);
    let frames = frames.and_then(|text| text.trim().parse().ok()).unwrap_or(1).max(1);
    let video = video::media_type(identity.transfer_syntax_uid).is_some();
    let mut writer = Writer { out, bulk_data, rounded: false };
    writer.meta(identity)?;
    for (tag, element) in elements {
        match tag == tags::PIXEL_DATA && encapsulated {
            true => writer.fragments(&element, frames, video)?,
            false => writer.element(tag, element)?,
        }
    }
    writer.out.flush().context(WriteSnafu)?;
    Ok(writer.rounded)
}

struct Writer<'b, W> {
    out: W,
    bulk_data: &'b BulkData,
    rounded: bool,
}

/// Encodes headers and delimiters.
fn encoder() -> ExplicitVRLittleEndianEncoder {
    ExplicitVRLittleEndianEncoder::default()
}

fn unencodable(tag: Tag) -> impl Fn(dicom_encoding::encode::Error) -> super::AssembleError {
    move |error| EncodeSnafu { tag: name(tag), problem: error.to_string() }.build()
}

impl<W: Write> Writer<'_, W> {
    fn meta(&mut self, identity: &Identity) -> Result<()> {
        let table = FileMetaTableBuilder::new()
            .media_storage_sop_class_uid(identity.sop_class_uid)
            .media_storage_sop_instance_uid(identity.sop_instance_uid)
            .transfer_syntax(identity.transfer_syntax_uid)
            .build()
            .map_err(io::Error::other)
            .context(WriteSnafu)?;
        self.out.write_all(&[0; 128]).and_then(|()| self.out.write_all(b"DICM")).context(WriteSnafu)?;
        table.write(&mut self.out).map_err(io::Error::other).context(WriteSnafu)
    }

    fn element(&mut self, tag: Tag, element: Value) -> Result<()> {
        let vr = element::vr(tag, &element)?;
        if let Some(uri) = element.get("BulkDataURI").and_then(Value::as_str) {
            return self.bulk_value(tag, vr, uri);
        }
        if vr == VR::SQ {
            return self.sequence(tag, element);
        }
        let (object, rounded) = element::decode(tag, vr, element)?;
        self.rounded |= rounded;
        let syntax = EXPLICIT_VR_LITTLE_ENDIAN.erased();
        object
            .write_dataset_with_ts_cs(&mut self.out, &syntax, SpecificCharacterSet::ISO_IR_192)
            .or_else(|error| EncodeSnafu { tag: name(tag), problem: error.to_string() }.fail())
    }

    fn sequence(&mut self, tag: Tag, mut element: Value) -> Result<()> {
        self.header(tag, VR::SQ, UNDEFINED)?;
        let items = match element.get_mut("Value").map(Value::take) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        };
        for item in items {
            encoder().encode_item_header(&mut self.out, UNDEFINED).map_err(unencodable(tag))?;
            let item = match item {
                Value::Object(item) => element::elements(item)?,
                Value::Null => Elements::new(),
                _ => return ElementSnafu { tag: name(tag), problem: "an item is no object" }.fail(),
            };
            for (tag, element) in item {
                self.element(tag, element)?;
            }
            encoder().encode_item_delimiter(&mut self.out).map_err(unencodable(tag))?;
        }
        encoder().encode_sequence_delimiter(&mut self.out).map_err(unencodable(tag))
    }

    fn bulk_value(&mut self, tag: Tag, vr: VR, uri: &str) -> Result<()> {
        let part = match self.bulk_data.find(uri)[..] {
            [part] => part,
            [] => return NoBulkDataSnafu { uri }.fail(),
            _ => {
                let problem = "several parts have its bulk data";
                return ElementSnafu { tag: name(tag), problem }.fail();
            }
        };
        let length = part.len().next_multiple_of(2);
        if length > MAX_LENGTH || vr == VR::SQ {
            let problem = format!("{} bytes are no value of VR {}", part.len(), vr.to_string());
            return ElementSnafu { tag: name(tag), problem }.fail();
        }
        self.header(tag, vr, length as u32)?;
        self.copy(self.bulk_data.read(part).context(ReadBackSnafu)?, part.len(), padding(vr))
    }

    /// Pixel data in fragments, one a frame (PS3.5 section A.4).
    fn fragments(&mut self, element: &Value, frames: usize, video: bool) -> Result<()> {
        let tag = tags::PIXEL_DATA;
        let inline = element::inline_binary(tag, element)?;
        let uri = element.get("BulkDataURI").and_then(Value::as_str);
        let parts = uri.map(|uri| self.bulk_data.find(uri)).unwrap_or_default();
        if let (Some(uri), true) = (uri, parts.is_empty()) {
            return NoBulkDataSnafu { uri }.fail();
        }
        let lengths: Vec<u64> = match &inline {
            Some(bytes) => vec![bytes.len() as u64],
            None => parts.iter().map(|part| part.len()).collect(),
        };
        if lengths.len() != frames && !(video && lengths.len() == 1) {
            let problem = format!("{} parts for {frames} frames", lengths.len());
            return PixelEncodingSnafu { problem }.fail();
        }
        self.header(tag, VR::OB, UNDEFINED)?;
        self.offset_table(&lengths)?;
        match inline {
            Some(bytes) => self.fragment(&bytes[..], bytes.len() as u64)?,
            None => {
                for part in parts {
                    self.fragment(self.bulk_data.read(part).context(ReadBackSnafu)?, part.len())?;
                }
            }
        }
        encoder().encode_sequence_delimiter(&mut self.out).map_err(unencodable(tag))
    }

    /// The Basic Offset Table: where each frame begins; empty for one frame, or where 32 bits cannot tell.
    fn offset_table(&mut self, lengths: &[u64]) -> Result<()> {
        let offsets = lengths.iter().scan(0u64, |next, length| {
            let offset = *next;
            *next = next.saturating_add(8 + length.next_multiple_of(2));
            Some(offset)
        });
        let offsets: Option<Vec<u32>> = offsets.map(|offset| u32::try_from(offset).ok()).collect();
        let offsets = offsets.filter(|_| lengths.len() > 1).unwrap_or_default();
        let length = offsets.len() as u32 * 4;
        encoder().encode_item_header(&mut self.out, length).map_err(unencodable(tags::PIXEL_DATA))?;
        offsets.iter().try_for_each(|offset| self.out.write_all(&offset.to_le_bytes())).context(WriteSnafu)
    }

    fn fragment(&mut self, bytes: impl Read, length: u64) -> Result<()> {
        let padded = length.next_multiple_of(2);
        if padded > MAX_LENGTH {
            return PixelEncodingSnafu { problem: format!("{length} bytes are too many for one part") }
                .fail();
        }
        let header = encoder().encode_item_header(&mut self.out, padded as u32);
        header.map_err(unencodable(tags::PIXEL_DATA))?;
        self.copy(bytes, length, 0)
    }

    fn header(&mut self, tag: Tag, vr: VR, length: u32) -> Result<()> {
        let header = DataElementHeader::new(tag, vr, Length(length));
        encoder().encode_element_header(&mut self.out, header).map_err(unencodable(tag))?;
        Ok(())
    }

    fn copy(&mut self, bytes: impl Read, length: u64, padding: u8) -> Result<()> {
        let copied = io::copy(&mut bytes.take(length), &mut self.out).context(WriteSnafu)?;
        if copied < length {
            return Err(io::ErrorKind::UnexpectedEof.into()).context(ReadBackSnafu);
        }
        let padding: &[u8] = if length % 2 == 1 { &[padding] } else { &[] };
        self.out.write_all(padding).context(WriteSnafu)
    }
}

/// What makes a value's length even (PS3.5 section 6.2).
fn padding(vr: VR) -> u8 {
    match vr {
        VR::LT | VR::ST | VR::UT | VR::UC | VR::UR | VR::DS | VR::IS => b' ',
        _ => 0,
    }
}

/// How pixel data in these parts is encoded.
///
/// In this order: the parts' own `transfer-syntax`; `declared`, what the metadata says; the default of the parts'
/// media type (PS3.18 Tables 8.7.3-3 and 8.7.3-5).
pub fn transfer_syntax(parts: &[&BulkPart], declared: Option<&str>) -> Result<String> {
    let of_part = |part: &&BulkPart| part.media_type.parameter("transfer-syntax").map(str::to_owned);
    let mut own = parts.iter().filter_map(of_part);
    let first = own.next();
    if let (Some(first), Some(other)) = (&first, own.find(|uid| Some(uid) != first.as_ref())) {
        return PixelEncodingSnafu { problem: format!("one part is in {first}, another in {other}") }.fail();
    }
    let essence = parts.first().map_or("application/octet-stream", |part| part.media_type.essence.as_str());
    if let Some(part) = parts.iter().find(|part| part.media_type.essence != essence) {
        let problem = format!("one part is {essence}, another {}", part.media_type.essence);
        return PixelEncodingSnafu { problem }.fail();
    }
    let by_default = match essence {
        "application/octet-stream" => Some(uids::EXPLICIT_VR_LITTLE_ENDIAN),
        "image/jpeg" => Some(uids::JPEG_LOSSLESS_SV1),
        "image/jls" | "image/x-jls" => Some(uids::JPEGLS_LOSSLESS),
        "image/jp2" => Some(uids::JPEG2000_LOSSLESS),
        "image/jpx" => Some(uids::JPEG2000MC_LOSSLESS),
        "image/jphc" => Some(uids::HTJ2K_LOSSLESS),
        "image/dicom-rle" | "image/x-dicom-rle" => Some(uids::RLE_LOSSLESS),
        "video/mpeg" => Some(uids::MPEG2MPML),
        "video/mp4" => Some(uids::MPEG4HP41),
        _ => None,
    };
    match first.as_deref().or(declared).or(by_default) {
        Some(uid) => Ok(uid.to_owned()),
        None => PixelEncodingSnafu { problem: format!("{essence} without a transfer syntax") }.fail(),
    }
}
