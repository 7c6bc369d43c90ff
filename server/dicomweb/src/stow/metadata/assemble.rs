//! From the metadata of a request to its instances, one at a time.

use std::io::BufWriter;
use std::iter;

use dicom_dictionary_std::{tags, uids};
use dicom_encoding::transfer_syntax::TransferSyntaxIndex;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use engram_archive::Incoming;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use snafu::{OptionExt, ResultExt};

use super::Encoding;
use super::bulk_data::BulkData;
use super::element::{Elements, elements, first_text, needs_charset};
use super::error::{
    JsonSnafu, MissingSnafu, NoBulkDataSnafu, PixelEncodingSnafu, Result, TransferSyntaxSnafu, XmlSnafu,
};
use super::part10::{self, Identity};
use crate::native_model;

/// A metadata part.
#[derive(Debug)]
pub struct Attributes {
    /// How it is written.
    pub encoding: Encoding,
    /// The `transfer-syntax` of its `Content-Type`.
    pub transfer_syntax: Option<String>,
    /// The part, or what came of it.
    pub bytes: Vec<u8>,
}

/// One instance's metadata.
#[derive(Debug)]
pub struct Instance {
    elements: Elements,
    /// How the part said that pixel data is encoded.
    transfer_syntax: Option<String>,
}

/// An object that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assembled {
    /// A decimal had more digits than a DS has room for.
    pub rounded: bool,
}

/// The instances of a part, each read when it is asked for. DICOM JSON may also be one object.
pub fn instances(part: &Attributes) -> Result<Box<dyn Iterator<Item = Result<Instance>> + '_>> {
    let instance = |object: Map<String, Value>| {
        Ok(Instance { elements: elements(object)?, transfer_syntax: part.transfer_syntax.clone() })
    };
    if part.encoding == Encoding::Xml {
        let object = native_model::read(&part.bytes).context(XmlSnafu)?;
        return Ok(Box::new(iter::once(instance(object))));
    }
    let objects: Vec<&RawValue> = match part.bytes.trim_ascii_start().first() {
        Some(b'{') => vec![serde_json::from_slice(&part.bytes).context(JsonSnafu)?],
        _ => serde_json::from_slice(&part.bytes).context(JsonSnafu)?,
    };
    let read =
        move |object: &RawValue| serde_json::from_str(object.get()).context(JsonSnafu).and_then(instance);
    Ok(Box::new(objects.into_iter().map(read)))
}

impl Instance {
    /// SOPClassUID, if there is one.
    pub fn sop_class_uid(&self) -> Option<String> {
        first_text(&self.elements, tags::SOP_CLASS_UID)
    }

    /// SOPInstanceUID, if there is one.
    pub fn sop_instance_uid(&self) -> Option<String> {
        first_text(&self.elements, tags::SOP_INSTANCE_UID)
    }

    /// Every BulkDataURI, at any depth.
    pub fn bulk_data_uris(&self) -> Vec<&str> {
        let mut uris = Vec::new();
        self.elements.values().for_each(|element| gather_uris(element, &mut uris));
        uris
    }

    /// Writes the instance as a Part 10 object.
    ///
    /// # Errors
    /// Where the metadata is not as DICOM JSON has it, or bulk data is missing or does not fit. What `incoming` could
    /// not take is no error here: the archive refuses it by its reason.
    pub fn assemble(mut self, incoming: &mut Incoming, bulk_data: &BulkData) -> Result<Assembled> {
        let sop_class_uid = self.sop_class_uid().context(MissingSnafu { attribute: "SOPClassUID" })?;
        let sop_instance_uid =
            self.sop_instance_uid().context(MissingSnafu { attribute: "SOPInstanceUID" })?;
        for uri in self.bulk_data_uris() {
            if bulk_data.find(uri).is_empty() {
                return NoBulkDataSnafu { uri }.fail();
            }
        }
        let (transfer_syntax_uid, encapsulated) = self.encoding_of_pixels(bulk_data)?;
        self.elements.remove(&tags::AVAILABLE_TRANSFER_SYNTAX_UID);
        self.label_charset();
        let identity = Identity {
            sop_class_uid: &sop_class_uid,
            sop_instance_uid: &sop_instance_uid,
            transfer_syntax_uid: &transfer_syntax_uid,
        };
        let written =
            part10::write(BufWriter::new(&mut *incoming), &identity, self.elements, bulk_data, encapsulated);
        match written {
            Err(_) if incoming.has_failed() => Ok(Assembled { rounded: false }),
            written => written.map(|rounded| Assembled { rounded }),
        }
    }

    /// The transfer syntax of the object, and whether it encapsulates its pixel data.
    fn encoding_of_pixels(&self, bulk_data: &BulkData) -> Result<(String, bool)> {
        let native = Ok((uids::EXPLICIT_VR_LITTLE_ENDIAN.to_owned(), false));
        let Some(pixels) = self.elements.get(&tags::PIXEL_DATA) else { return native };
        let uri = pixels.get("BulkDataURI").and_then(Value::as_str);
        if uri.is_none() && pixels.get("InlineBinary").is_none() {
            return native;
        }
        let parts = uri.map(|uri| bulk_data.find(uri)).unwrap_or_default();
        let available = first_text(&self.elements, tags::AVAILABLE_TRANSFER_SYNTAX_UID);
        let declared = available.or_else(|| self.transfer_syntax.clone());
        let uid = part10::transfer_syntax(&parts, declared.as_deref())?;
        let syntax = TransferSyntaxRegistry.get(&uid).context(TransferSyntaxSnafu { uid: uid.as_str() })?;
        if syntax.is_encapsulated_pixel_data() {
            return Ok((uid, true));
        }
        match parts.iter().find(|part| part.media_type.essence != "application/octet-stream") {
            None => native,
            Some(part) => {
                let problem = format!("{} is said to be in {uid}", part.media_type.essence);
                PixelEncodingSnafu { problem }.fail()
            }
        }
    }

    /// Text is encoded in UTF-8, as it came. Where there is more than ASCII, the object says so.
    fn label_charset(&mut self) {
        if self.elements.values().any(needs_charset) {
            let utf8 = json!({ "vr": "CS", "Value": ["ISO_IR 192"] });
            self.elements.values_mut().for_each(|element| relabel(element, &utf8));
            self.elements.insert(tags::SPECIFIC_CHARACTER_SET, utf8);
        }
    }
}

/// Gives every item that has a character set of its own the new one.
fn relabel(element: &mut Value, charset: &Value) {
    for item in element.get_mut("Value").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(item) = item.as_object_mut() else { continue };
        if let Some(own) = item.get_mut("00080005") {
            *own = charset.clone();
        }
        item.values_mut().for_each(|element| relabel(element, charset));
    }
}

fn gather_uris<'a>(element: &'a Value, uris: &mut Vec<&'a str>) {
    uris.extend(element.get("BulkDataURI").and_then(Value::as_str));
    let items = element.get("Value").and_then(Value::as_array).into_iter().flatten();
    for element in items.filter_map(Value::as_object).flat_map(Map::values) {
        gather_uris(element, uris);
    }
}
