//! DICOM JSON to XML.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;

use dicom_core::Tag;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::StandardDataDictionary;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{COMPONENTS, GROUPS, MAX_DEPTH, NAMESPACE, is_in_block, tag};

/// A data set of DICOM JSON. Values stay text until they are written, so that numbers keep their digits.
type DataSet<'a> = BTreeMap<Cow<'a, str>, Element<'a>>;

#[derive(Deserialize)]
struct Element<'a> {
    vr: String,
    #[serde(rename = "Value", borrow)]
    values: Option<Vec<&'a RawValue>>,
    #[serde(rename = "InlineBinary")]
    inline_binary: Option<String>,
    #[serde(rename = "BulkDataURI")]
    bulk_data_uri: Option<String>,
}

type Xml = Writer<Vec<u8>>;

/// Writes one DICOM JSON object as an XML document.
///
/// # Errors
/// Where `json` is no DICOM JSON object, or nests deeper than the archive takes.
pub fn write(json: &[u8]) -> io::Result<Vec<u8>> {
    let mut xml = Writer::new(Vec::with_capacity(json.len().saturating_mul(2)));
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    xml.create_element("NativeDicomModel")
        .with_attributes([("xmlns", NAMESPACE), ("xml:space", "preserve")])
        .write_inner_content(|xml| data_set(xml, json, 0))?;
    Ok(xml.into_inner())
}

fn data_set(xml: &mut Xml, json: &[u8], depth: usize) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::other(format!("sequences nest deeper than {MAX_DEPTH}")));
    }
    let elements: DataSet = serde_json::from_slice(json)?;
    for (key, element) in &elements {
        let (name, creator) = name_of(key, &elements);
        let mut attribute = xml
            .create_element("DicomAttribute")
            .with_attribute(("tag", name.as_ref()))
            .with_attribute(("vr", element.vr.as_str()));
        if let Some(creator) = &creator {
            attribute = attribute.with_attribute(("privateCreator", in_xml(creator).as_ref()));
        }
        if let Some(keyword) = keyword(key) {
            attribute = attribute.with_attribute(("keyword", keyword));
        }
        attribute.write_inner_content(|xml| content(xml, element, depth))?;
    }
    Ok(())
}

fn content(xml: &mut Xml, element: &Element, depth: usize) -> io::Result<()> {
    if let Some(uri) = &element.bulk_data_uri {
        xml.create_element("BulkData").with_attribute(("uri", in_xml(uri).as_ref())).write_empty()?;
        return Ok(());
    }
    if let Some(binary) = &element.inline_binary {
        return text(xml, "InlineBinary", binary);
    }
    for (value, number) in element.values.iter().flatten().zip(1usize..) {
        let name = match element.vr.as_str() {
            "SQ" => "Item",
            "PN" => "PersonName",
            _ => "Value",
        };
        let numbered = xml.create_element(name).with_attribute(("number", number.to_string().as_str()));
        match (value.get(), name) {
            ("null", _) => numbered.write_empty()?,
            (item, "Item") => {
                numbered.write_inner_content(|xml| data_set(xml, item.as_bytes(), depth + 1))?
            }
            (name, "PersonName") => numbered.write_inner_content(|xml| person_name(xml, name))?,
            (value, _) => numbered.write_text_content(BytesText::new(&in_xml(&plain(value)?)))?,
        };
    }
    Ok(())
}

/// A value as text: a string's characters, or a number's digits as they stand.
fn plain(value: &str) -> io::Result<Cow<'_, str>> {
    match value.starts_with('"') {
        true => Ok(serde_json::from_str::<String>(value)?.into()),
        false => Ok(value.into()),
    }
}

fn person_name(xml: &mut Xml, json: &str) -> io::Result<()> {
    let groups: BTreeMap<String, String> = serde_json::from_str(json)?;
    for name in GROUPS {
        let Some(group) = groups.get(name).filter(|group| !group.is_empty()) else { continue };
        xml.create_element(name).write_inner_content(|xml| {
            // A sixth component, which no name should have, stays with the suffix.
            for (component, value) in COMPONENTS.into_iter().zip(group.splitn(COMPONENTS.len(), '^')) {
                if !value.is_empty() {
                    text(xml, component, value)?;
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn text(xml: &mut Xml, name: &str, value: &str) -> io::Result<()> {
    xml.create_element(name).write_text_content(BytesText::new(&in_xml(value)))?;
    Ok(())
}

/// The text with U+FFFD for what XML 1.0 cannot hold (its section 2.2).
fn in_xml(text: &str) -> Cow<'_, str> {
    let is_char = |character: char| matches!(character, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..);
    match text.chars().all(is_char) {
        true => text.into(),
        false => text
            .chars()
            .map(|one| if is_char(one) { one } else { char::REPLACEMENT_CHARACTER })
            .collect::<String>()
            .into(),
    }
}

fn keyword(key: &str) -> Option<&'static str> {
    let (group, element) = tag(key)?;
    // The dictionary's entries for private groups name no attribute.
    (group % 2 == 0).then(|| StandardDataDictionary.by_tag(Tag(group, element)).map(|entry| entry.alias()))?
}

/// How an element is named: its tag, and its private creator where it has one.
fn name_of<'a>(key: &'a str, elements: &DataSet) -> (Cow<'a, str>, Option<String>) {
    let Some((group, element)) = tag(key).filter(|(group, element)| is_in_block(*group, *element)) else {
        return (key.into(), None);
    };
    let block = element >> 8;
    let creator_of = |block: u16| -> Option<String> {
        let creator = elements.get(format!("{group:04X}{block:04X}").as_str())?;
        let name = creator.values.as_ref()?.first()?.get();
        serde_json::from_str(name).ok()
    };
    let creator = creator_of(block);
    let is_first = (0x10..block).all(|other| creator_of(other) != creator);
    // XML's attributes cannot tell one kind of white space from another.
    let speaks = |name: &String| !name.is_empty() && !name.contains(char::is_control);
    match creator.filter(|name| is_first && speaks(name)) {
        Some(creator) => (format!("{group:04X}00{:02X}", element & 0xff).into(), Some(creator)),
        None => (key.into(), None),
    }
}
