//! XML to DICOM JSON.

use std::collections::BTreeMap;

use quick_xml::XmlVersion;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::reader::Reader;
use serde_json::{Map, Value, json};
use snafu::{OptionExt, ResultExt, Snafu};

use super::{COMPONENTS, GROUPS, MAX_DEPTH, is_in_block, tag};

/// How many values a document may leave out of its numbering: each is a `null` in DICOM JSON, which the document
/// did not have to pay for.
const MAX_GAPS: usize = 4096;

/// Why a document is no Native DICOM Model.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum ReadError {
    /// The bytes are no UTF-8.
    #[snafu(display("could not read the XML: it is not UTF-8"))]
    NotUtf8 {
        /// Where.
        source: std::str::Utf8Error,
    },
    /// The document is no well-formed XML.
    #[snafu(display("could not read the XML at byte {offset}: {source}"))]
    Xml {
        /// Where.
        offset: u64,
        /// Why.
        source: quick_xml::Error,
    },
    /// The document has a document type definition, which is never read.
    #[snafu(display("could not accept a document type definition"))]
    DocumentType,
    /// A reference to an entity that XML itself does not define.
    #[snafu(display("could not resolve the entity &{name};"))]
    Entity {
        /// The entity's name.
        name: String,
    },
    /// Well-formed, but not as PS3.19 A.1 has it.
    #[snafu(display("could not read the Native DICOM Model: {problem}"))]
    Model {
        /// What is wrong.
        problem: String,
    },
}

type Result<T> = std::result::Result<T, ReadError>;

fn model<T>(problem: impl Into<String>) -> Result<T> {
    ModelSnafu { problem }.fail()
}

/// Reads one XML document as a DICOM JSON object. A namespace is neither asked for nor looked at.
///
/// Time and memory are a small multiple of the document's length: no entity is expanded, no document type is read,
/// and depth is bounded.
///
/// # Errors
/// Where the document is not well-formed, or no Native DICOM Model.
pub fn read(document: &[u8]) -> Result<Map<String, Value>> {
    let text = std::str::from_utf8(document).context(NotUtf8Snafu)?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut document = Document { reader, gaps: 0 };
    let data_set = match document.child()? {
        Some(root) if root.local_name().as_ref() == "NativeDicomModel" => document.data_set(0)?,
        Some(root) => return model(format!("the root is {:?}", root.local_name().as_ref())),
        None => return model("there is no root"),
    };
    match document.child()? {
        None => Ok(data_set),
        Some(_) => model("there is more than one root"),
    }
}

struct Document<'d> {
    reader: Reader<&'d [u8]>,
    gaps: usize,
}

/// Where a private element belongs once the whole data set is known.
struct Private {
    group: u16,
    element: u16,
    creator: String,
    value: Value,
}

impl<'d> Document<'d> {
    /// The next event that says something.
    fn event(&mut self) -> Result<Event<'d>> {
        loop {
            let event =
                self.reader.read_event().context(XmlSnafu { offset: self.reader.error_position() })?;
            match event {
                Event::DocType(_) => return DocumentTypeSnafu.fail(),
                Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
                event => return Ok(event),
            }
        }
    }

    /// The next element within the current one; `None` at its end. Only white space may stand between elements.
    fn child(&mut self) -> Result<Option<BytesStart<'d>>> {
        loop {
            match self.event()? {
                Event::Start(start) => return Ok(Some(start)),
                Event::End(_) | Event::Eof => return Ok(None),
                Event::Text(text) if text.xml10_content().trim_ascii().is_empty() => {}
                _ => return model("there is text between elements"),
            }
        }
    }

    /// The text of the current element, to its end.
    fn text(&mut self) -> Result<String> {
        let mut text = String::new();
        loop {
            match self.event()? {
                Event::Text(part) => text.push_str(&part.xml10_content()),
                Event::CData(part) => text.push_str(&part.xml10_content()),
                Event::GeneralRef(reference) => text.push(resolve(&reference)?),
                Event::End(_) => return Ok(text),
                Event::Eof => return model("the document ends inside an element"),
                _ => return model("there is an element where text belongs"),
            }
        }
    }

    /// Passes over the current element.
    fn end(&mut self, name: &str) -> Result<()> {
        match self.child()? {
            None => Ok(()),
            Some(_) => model(format!("{name} has elements in it")),
        }
    }

    fn data_set(&mut self, depth: usize) -> Result<Map<String, Value>> {
        if depth > MAX_DEPTH {
            return model(format!("sequences nest deeper than {MAX_DEPTH}"));
        }
        let mut data_set = Map::new();
        let mut private = Vec::new();
        while let Some(start) = self.child()? {
            if start.local_name().as_ref() != "DicomAttribute" {
                return model(format!("{:?} stands in a data set", start.local_name().as_ref()));
            }
            let name = attribute(&start, "tag")?.unwrap_or_default();
            let (group, element) =
                tag(&name).with_context(|| ModelSnafu { problem: format!("{name:?} is no tag") })?;
            let creator = attribute(&start, "privateCreator")?.filter(|creator| !creator.is_empty());
            let vr = attribute(&start, "vr")?.unwrap_or_default();
            if vr.len() != 2 || !vr.bytes().all(|byte| byte.is_ascii_uppercase()) {
                return model(format!("the attribute {name} has no VR"));
            }
            let value = self.attribute_value(vr, depth)?;
            match creator {
                Some(creator) if group % 2 == 1 => {
                    private.push(Private { group, element, creator, value });
                }
                _ => insert(&mut data_set, group, element, value)?,
            }
        }
        for element in private {
            place(&mut data_set, element)?;
        }
        Ok(data_set)
    }

    /// What is in a DicomAttribute, as DICOM JSON has it.
    fn attribute_value(&mut self, vr: String, depth: usize) -> Result<Value> {
        let mut values: BTreeMap<usize, Value> = BTreeMap::new();
        let mut element = Map::from_iter([("vr".to_owned(), Value::from(vr.as_str()))]);
        while let Some(start) = self.child()? {
            let (key, value) = match start.local_name().as_ref() {
                "BulkData" => {
                    let uri = attribute(&start, "uri")?;
                    self.end("BulkData")?;
                    ("BulkDataURI", uri.context(ModelSnafu { problem: "a BulkData without uri" })?)
                }
                "InlineBinary" => {
                    let base64 = self.text()?;
                    ("InlineBinary", base64.split_ascii_whitespace().collect())
                }
                name @ ("Value" | "Item" | "PersonName") => {
                    let number = number(&start)?;
                    let value = match (name, vr.as_str()) {
                        ("Item", "SQ") => Value::Object(self.data_set(depth + 1)?),
                        ("PersonName", "PN") => self.person_name()?,
                        ("Value", vr) if vr != "SQ" && vr != "PN" => scalar(vr, self.text()?),
                        _ => return model(format!("a {name} in an attribute of VR {vr}")),
                    };
                    if values.insert(number, value).is_some() {
                        return model(format!("two of {name} have the number {number}"));
                    }
                    continue;
                }
                name => return model(format!("{name:?} stands in an attribute")),
            };
            if element.len() > 1 || !values.is_empty() {
                return model("an attribute has more than one kind of value");
            }
            element.insert(key.to_owned(), value.into());
        }
        if !values.is_empty() {
            if element.len() > 1 {
                return model("an attribute has more than one kind of value");
            }
            element.insert("Value".to_owned(), self.list(values)?);
        }
        Ok(Value::Object(element))
    }

    /// The values in the order of their numbers, with `null` where a number is left out.
    fn list(&mut self, values: BTreeMap<usize, Value>) -> Result<Value> {
        let length = values.last_key_value().map_or(0, |(number, _)| *number);
        self.gaps = self.gaps.saturating_add(length - values.len().min(length));
        if self.gaps > MAX_GAPS {
            return model(format!("more than {MAX_GAPS} values are left out"));
        }
        let mut list = vec![Value::Null; length];
        for (number, value) in values {
            if let Some(place) = number.checked_sub(1).and_then(|index| list.get_mut(index)) {
                *place = value;
            }
        }
        Ok(list.into())
    }

    fn person_name(&mut self) -> Result<Value> {
        let mut name = Map::new();
        while let Some(start) = self.child()? {
            let group = start.local_name();
            let group = group.as_ref();
            if !GROUPS.contains(&group) {
                return model(format!("{group:?} stands in a PersonName"));
            }
            let mut components: [String; 5] = Default::default();
            while let Some(start) = self.child()? {
                let component = start.local_name();
                let index = COMPONENTS.iter().position(|known| *known == component.as_ref());
                match index.and_then(|index| components.get_mut(index)) {
                    Some(place) => *place = self.text()?,
                    None => return model(format!("{:?} stands in a {group}", component.as_ref())),
                }
            }
            let joined = components.join("^");
            name.insert(group.to_owned(), joined.trim_end_matches('^').into());
        }
        name.retain(|_, group| group != "");
        Ok(if name.is_empty() { Value::Null } else { Value::Object(name) })
    }
}

/// The character that a reference stands for: one by its number, or one of the five that XML defines.
fn resolve(reference: &BytesRef) -> Result<char> {
    let name = reference.xml10_content();
    if let Some(character) = reference.resolve_char_ref().context(XmlSnafu { offset: 0u64 })? {
        return Ok(character);
    }
    match name.as_ref() {
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "amp" => Ok('&'),
        "apos" => Ok('\''),
        "quot" => Ok('"'),
        name => EntitySnafu { name }.fail(),
    }
}

fn attribute(start: &BytesStart, name: &str) -> Result<Option<String>> {
    let found = start.try_get_attribute(name).map_err(quick_xml::Error::from);
    let Some(found) = found.context(XmlSnafu { offset: 0u64 })? else { return Ok(None) };
    let value = found.normalized_value(XmlVersion::Implicit1_0);
    Ok(Some(value.context(XmlSnafu { offset: 0u64 })?.into_owned()))
}

/// The number of a value, from 1.
fn number(start: &BytesStart) -> Result<usize> {
    let text = attribute(start, "number")?.unwrap_or_default();
    match text.trim().parse::<u32>() {
        Ok(number) if number > 0 => Ok(number as usize),
        _ => model(format!("{text:?} is no number of a value")),
    }
}

/// A value as DICOM JSON has it: a number where the VR is one of numbers (PS3.18 Table F.2.3-1), `null` where empty.
fn scalar(vr: &str, text: String) -> Value {
    let number = || serde_json::from_str::<serde_json::Number>(text.trim()).ok();
    let value = match vr {
        _ if text.is_empty() => return Value::Null,
        // Decimal and integer strings that a number would not give back digit by digit stay strings.
        "DS" | "IS" => number().filter(|number| number.to_string() == text),
        "FL" | "FD" | "SL" | "SS" | "SV" | "UL" | "US" | "UV" => number(),
        _ => None,
    };
    value.map_or(Value::String(text), Value::Number)
}

fn insert(data_set: &mut Map<String, Value>, group: u16, element: u16, value: Value) -> Result<()> {
    let key = format!("{group:04X}{element:04X}");
    match data_set.insert(key, value) {
        None => Ok(()),
        Some(_) => model(format!("the attribute {group:04X}{element:04X} stands there twice")),
    }
}

/// Puts a private element into its creator's block (PS3.5 section 7.8.1), and makes one where there is none.
fn place(data_set: &mut Map<String, Value>, private: Private) -> Result<()> {
    let Private { group, element, creator, value } = private;
    let creator_in = |block: u16| data_set.get(&format!("{group:04X}{block:04X}"));
    let is_own = |block: &u16| {
        creator_in(*block).and_then(|found| found.get("Value")?.get(0)?.as_str()) == Some(creator.as_str())
    };
    // A whole tag says itself which block it means.
    let own = match is_in_block(group, element) {
        true => Some(element >> 8).filter(is_own),
        false => (0x10..=0xff).find(is_own),
    };
    let block = match own.or_else(|| (0x10..=0xff).find(is_own)) {
        Some(block) => block,
        None => {
            let is_free = |block: &u16| {
                let prefix = format!("{group:04X}{block:02X}");
                creator_in(*block).is_none() && !data_set.keys().any(|key| key.starts_with(&prefix))
            };
            let free = (0x10..=0xff).find(is_free);
            let free = free.with_context(|| ModelSnafu {
                problem: format!("group {group:04X} has no room for {creator:?}"),
            })?;
            insert(data_set, group, free, json!({ "vr": "LO", "Value": [creator] }))?;
            free
        }
    };
    insert(data_set, group, (block << 8) | (element & 0xff), value)
}
