//! Writes a data set as a DICOM JSON object (PS3.18 Annex F) while it is walked over.

use super::{header::Header, input::Input, text::Charset, value, walk::Visitor};
use crate::StoreError;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use std::{collections::BTreeMap, ops::Range};

/// A value longer than this many bytes becomes bulk data whatever its VR, sequences apart (PS3.18 section F.2.6).
const MAX_INLINE: u32 = 256 * 1024;

/// What must be known of a data set's surroundings to read its values.
#[derive(Clone, Default)]
struct Context {
    charset: Charset,
    signed_pixels: bool,
}

/// Where the walk stands in the data set.
struct Level {
    context: Context,
    first: bool,
    items: usize,
}

/// The JSON being written. BulkDataURIs have the form `@bulkdata/...`.
pub(crate) struct JsonWriter {
    inline_binary: usize,
    limit: usize,
    out: Vec<u8>,
    levels: Vec<Level>,
    /// From the top level to the innermost sequence: tag, then number of the item, from 1.
    path: Vec<(Tag, usize)>,
    top_level: BTreeMap<Tag, Range<usize>>,
    pixel_data: Option<Range<u64>>,
    /// The transfer syntax, until it is written.
    available: Option<String>,
}

/// A finished JSON object and where its top-level elements' values lie in it.
#[derive(Debug)]
pub(crate) struct DataSetJson {
    pub text: Vec<u8>,
    pub elements: BTreeMap<Tag, Range<usize>>,
}

impl DataSetJson {
    /// The JSON of a top-level element: `{"vr":...}`.
    pub(crate) fn element(&self, tag: Tag) -> Option<&[u8]> {
        self.text.get(self.elements.get(&tag)?.clone())
    }

    /// The first value of a top-level element as text: a string, or a number's digits; empty where there is none.
    pub(crate) fn text(&self, tag: Tag) -> String {
        let element =
            self.element(tag).and_then(|json| serde_json::from_slice::<serde_json::Value>(json).ok());
        element.as_ref().and_then(crate::model::first_text).unwrap_or_default()
    }
}

impl JsonWriter {
    /// For an object in that transfer syntax. A video's becomes AvailableTransferSyntaxUID (0008,3002): viewers must know what it is
    /// before they ask for frames, which it does not have.
    pub(crate) fn new(inline_binary: usize, limit: usize, transfer_syntax: &str) -> Self {
        JsonWriter {
            inline_binary,
            limit,
            out: vec![b'{'],
            levels: vec![Level { context: Context::default(), first: true, items: 0 }],
            path: Vec::new(),
            top_level: BTreeMap::new(),
            pixel_data: None,
            available: is_video(transfer_syntax).then(|| transfer_syntax.to_owned()),
        }
    }

    /// Where PixelData's value lies in the input; nothing where it is encapsulated.
    pub(crate) fn pixel_data(&self) -> Option<Range<u64>> {
        self.pixel_data.clone()
    }

    pub(crate) fn finish(mut self) -> DataSetJson {
        self.out.push(b'}');
        DataSetJson { text: self.out, elements: self.top_level }
    }

    /// Writes one element through `body` and remembers where a top-level one lies.
    fn element(&mut self, tag: Tag, body: impl FnOnce(&mut Self)) -> Result<(), StoreError> {
        self.key(tag);
        let start = self.out.len();
        body(self);
        if self.path.is_empty() {
            self.top_level.insert(tag, start..self.out.len());
        }
        self.check_limit()
    }

    fn key(&mut self, tag: Tag) {
        if self.path.is_empty()
            && tag > tags::AVAILABLE_TRANSFER_SYNTAX_UID
            && let Some(syntax) = self.available.take()
        {
            self.key(tags::AVAILABLE_TRANSFER_SYNTAX_UID);
            let start = self.out.len();
            self.push(&format!("{{\"vr\":\"UI\",\"Value\":[\"{syntax}\"]}}"));
            self.top_level.insert(tags::AVAILABLE_TRANSFER_SYNTAX_UID, start..self.out.len());
        }
        if let Some(level) = self.levels.last_mut() {
            if !level.first {
                self.out.push(b',');
            }
            level.first = false;
        }
        self.push(&format!("\"{:04X}{:04X}\":", tag.group(), tag.element()));
    }

    fn push(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn check_limit(&self) -> Result<(), StoreError> {
        if self.out.len() > self.limit {
            Err(StoreError::MetadataTooLarge { limit: self.limit })
        } else {
            Ok(())
        }
    }

    fn context(&self) -> Context {
        self.levels.last().map(|level| level.context.clone()).unwrap_or_default()
    }

    fn bulk_data(&mut self, header: &Header) -> Result<(), StoreError> {
        let vr = header.vr;
        self.element(header.tag, |this| {
            this.push(&format!("{{\"vr\":\"{}\",\"BulkDataURI\":\"@bulkdata/", vr.to_string()));
            for (tag, item) in this.path.clone() {
                this.push(&format!("{:04X}{:04X}/{item}/", tag.group(), tag.element()));
            }
            this.push(&format!("{:04X}{:04X}\"}}", header.tag.group(), header.tag.element()));
        })
    }

    /// Whether the value is sent apart from the metadata.
    fn is_bulk(&self, header: &Header, length: u32) -> bool {
        let is_pixels =
            matches!(header.tag, tags::PIXEL_DATA | tags::FLOAT_PIXEL_DATA | tags::DOUBLE_FLOAT_PIXEL_DATA);
        let is_long_binary = value::is_binary(header.vr) && length as usize > self.inline_binary;
        is_pixels || is_long_binary || length > MAX_INLINE
    }

    /// Takes note of what governs the values that follow.
    fn note(&mut self, tag: Tag, text: &[u8]) {
        let Some(level) = self.levels.last_mut() else { return };
        match tag {
            tags::SPECIFIC_CHARACTER_SET => {
                level.context.charset = Charset::from_values(&String::from_utf8_lossy(text));
            }
            tags::PIXEL_REPRESENTATION => {
                level.context.signed_pixels = text.iter().any(|byte| *byte != 0);
            }
            _ => {}
        }
    }
}

/// Whether the frames are coded as one stream: MPEG-2, MPEG-4, HEVC (PS3.5 sections 8.2.5 to 8.2.8).
fn is_video(transfer_syntax: &str) -> bool {
    let rest = transfer_syntax.strip_prefix("1.2.840.10008.1.2.4.10");
    rest.is_some_and(|rest| rest.starts_with(|digit: char| ('0'..='8').contains(&digit)))
}

impl Visitor for JsonWriter {
    fn value(&mut self, header: &Header, length: u32, input: &mut Input) -> Result<(), StoreError> {
        // Group lengths are retired and, like padding, say nothing of the object.
        if header.tag.element() == 0 || header.tag == tags::DATA_SET_TRAILING_PADDING {
            return Ok(());
        }
        // Says in what another archive had the object.
        if self.path.is_empty() && header.tag == tags::AVAILABLE_TRANSFER_SYNTAX_UID {
            return Ok(());
        }
        if self.path.is_empty() && header.tag == tags::PIXEL_DATA {
            self.pixel_data = Some(input.position()..input.position().saturating_add(u64::from(length)));
        }
        if self.is_bulk(header, length) {
            return self.bulk_data(header);
        }
        let bytes = input.take(u64::from(length), &header.name())?;
        self.note(header.tag, &bytes);
        let context = self.context();
        let vr = match header.vr {
            VR::US if header.depends_on_pixel_representation && context.signed_pixels => VR::SS,
            vr => vr,
        };
        self.element(header.tag, |this| {
            if header.tag == tags::SPECIFIC_CHARACTER_SET {
                // JSON is UTF-8, whatever the object was.
                this.push("{\"vr\":\"CS\",\"Value\":[\"ISO_IR 192\"]}");
            } else {
                value::write(&mut this.out, vr, &bytes, header.encoding, &context.charset);
            }
        })
    }

    fn fragments(&mut self, header: &Header, _items: Vec<Range<u64>>) -> Result<(), StoreError> {
        self.bulk_data(header)
    }

    fn sequence(&mut self, header: &Header) -> Result<(), StoreError> {
        self.key(header.tag);
        if self.path.is_empty() {
            self.top_level.insert(header.tag, self.out.len()..self.out.len());
        }
        self.push("{\"vr\":\"SQ\"");
        self.path.push((header.tag, 0));
        let context = self.context();
        self.levels.push(Level { context, first: true, items: 0 });
        Ok(())
    }

    fn item(&mut self) -> Result<(), StoreError> {
        let context = match self.levels.last_mut() {
            Some(sequence) => {
                sequence.items += 1;
                self.out.extend_from_slice(if sequence.items == 1 { b",\"Value\":[{" } else { b",{" });
                sequence.context.clone()
            }
            None => Context::default(),
        };
        if let Some(place) = self.path.last_mut() {
            place.1 += 1;
        }
        self.levels.push(Level { context, first: true, items: 0 });
        self.check_limit()
    }

    fn item_end(&mut self) -> Result<(), StoreError> {
        self.levels.pop();
        self.out.push(b'}');
        Ok(())
    }

    fn sequence_end(&mut self) -> Result<(), StoreError> {
        let items = self.levels.pop().map_or(0, |sequence| sequence.items);
        if items > 0 {
            self.out.push(b']');
        }
        self.out.push(b'}');
        if let Some((tag, _)) = self.path.pop()
            && self.path.is_empty()
            && let Some(range) = self.top_level.get_mut(&tag)
        {
            range.end = self.out.len();
        }
        self.check_limit()
    }
}
