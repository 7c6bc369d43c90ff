//! The pixel data, or all bulk data, of instances, part by part. Plain blocking calls.

use std::ops::RangeInclusive;

use bytes::{Bytes, BytesMut};
use engram_archive::InstanceEntry;
use engram_imaging::Error as Imaging;
use serde_json::Value;
use snafu::ResultExt;

use super::routes::{Found, Video, find};
use crate::error::{ArchiveSnafu, Error, NotFoundSnafu, PixelsSnafu, ReadFileSnafu, Result};
use crate::media::Offer;
use crate::multipart::MultipartWriter;
use crate::state::{DicomWeb, Urls};
use crate::wado::body::{Chunks, Segment, SegmentReader};
use crate::wado::frames::{FrameSet, OCTETS};
use crate::wado::producer::Producer;
use crate::wado::{EXPLICIT_VR_LITTLE_ENDIAN, PIXEL_DATA};

/// Parts of a multipart answer, made when they are asked for: one buffer, or one compressed object and one of its
/// frames, is in memory at a time.
pub struct Parts {
    state: DicomWeb,
    wanted: Wanted,
    left: std::vec::IntoIter<InstanceEntry>,
    /// What is left of an instance: paths of its values, the next one last.
    values: Option<(InstanceEntry, Vec<String>)>,
    writer: MultipartWriter,
    urls: Urls,
    current: Option<Part>,
    has_begun: bool,
    is_ended: bool,
}

/// Which values of each instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// PixelData alone.
    PixelData,
    /// Every value that its metadata names by a BulkDataURI.
    BulkData,
}

enum Part {
    Value(SegmentReader),
    Frames { set: FrameSet, left: RangeInclusive<usize>, location: String },
}

impl Parts {
    /// What the parts are.
    pub fn offer() -> Offer {
        Offer::multipart(OCTETS).in_syntax(EXPLICIT_VR_LITTLE_ENDIAN)
    }

    pub fn new(
        state: DicomWeb,
        wanted: Wanted,
        entries: Vec<InstanceEntry>,
        writer: MultipartWriter,
        urls: Urls,
    ) -> Self {
        let left = entries.into_iter();
        Self {
            state,
            wanted,
            left,
            values: None,
            writer,
            urls,
            current: None,
            has_begun: false,
            is_ended: false,
        }
    }

    /// The paths of an instance's values, the last first.
    fn paths(&self, entry: &InstanceEntry) -> Result<Vec<String>> {
        match self.wanted {
            Wanted::PixelData => Ok(vec![PIXEL_DATA.to_owned()]),
            Wanted::BulkData => {
                let uids = &entry.uids;
                let (study, series) = (&uids.study_instance_uid, &uids.series_instance_uid);
                let json = self.state.archive.instance_json(study, series, &uids.sop_instance_uid);
                let json = Value::Object(json.context(ArchiveSnafu)?.unwrap_or_default());
                let mut paths = bulk_data_of(&json);
                paths.reverse();
                Ok(paths)
            }
        }
    }

    /// The value at a path; `None` where there is none.
    fn open(&self, entry: &InstanceEntry, path: &str) -> Result<Option<Part>> {
        let found = match find(&self.state, entry, path, true) {
            Err(Error::NotFound { .. }) => return Ok(None),
            found => found?,
        };
        let instance = self.urls.retrieve_instance(&entry.uids);
        let location = match self.wanted {
            Wanted::PixelData => format!("{instance}/pixeldata"),
            Wanted::BulkData => format!("{instance}/bulkdata/{path}"),
        };
        Ok(Some(match found {
            Found::Value(value) => self.value(OCTETS, EXPLICIT_VR_LITTLE_ENDIAN, &location, vec![value]),
            Found::Frames(set) => Part::Frames { left: 1..=set.len(), set, location: instance },
            Found::Video(Video { media_type, transfer_syntax, segments })
                if self.wanted == Wanted::BulkData =>
            {
                self.value(media_type, &transfer_syntax, &location, segments)
            }
            Found::Video(_) => {
                let uid = entry.transfer_syntax_uid.as_str();
                return Err(Imaging::UnsupportedTransferSyntax { uid: uid.to_owned() }).context(PixelsSnafu);
            }
        }))
    }

    fn value(&self, media_type: &str, syntax: &str, location: &str, content: Vec<Segment>) -> Part {
        let mut segments = vec![Segment::Bytes(self.part_start(media_type, syntax, location))];
        segments.extend(content);
        Part::Value(SegmentReader::new(segments, self.state.options.buffer_bytes))
    }

    fn part_start(&self, media_type: &str, syntax: &str, location: &str) -> Bytes {
        self.writer.part_start(&format!("{media_type}; transfer-syntax={syntax}"), Some(location))
    }

    /// The next bytes of a part; `None` where it is at its end.
    fn next_of(&self, part: &mut Part) -> Result<Option<Bytes>> {
        match part {
            Part::Value(reader) => reader.next_chunk().context(ReadFileSnafu),
            Part::Frames { set, left, location } => {
                let Some(frame) = left.next() else { return Ok(None) };
                let pixels = set.read(frame, &Self::offer())?;
                let location = format!("{location}/frames/{frame}");
                let mut bytes = BytesMut::from(self.part_start(OCTETS, EXPLICIT_VR_LITTLE_ENDIAN, &location));
                bytes.extend_from_slice(&pixels);
                Ok(Some(bytes.freeze()))
            }
        }
    }

    fn end(&mut self) -> Result<Option<Bytes>> {
        if !self.has_begun {
            let what = match self.wanted {
                Wanted::PixelData => "an instance with pixel data",
                Wanted::BulkData => "an instance with bulk data",
            };
            return NotFoundSnafu { what }.fail();
        }
        let end = (!self.is_ended).then(|| self.writer.end());
        self.is_ended = true;
        Ok(end)
    }
}

impl Producer for Parts {
    fn produce(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(mut part) = self.current.take() {
                if let Some(bytes) = self.next_of(&mut part)? {
                    self.current = Some(part);
                    self.has_begun = true;
                    return Ok(Some(bytes));
                }
                continue;
            }
            match self.values.take() {
                Some((entry, mut paths)) => {
                    let Some(path) = paths.pop() else { continue };
                    self.current = self.open(&entry, &path)?;
                    self.values = Some((entry, paths));
                }
                None => match self.left.next() {
                    Some(entry) => {
                        let paths = self.paths(&entry)?;
                        self.values = Some((entry, paths));
                    }
                    None => return self.end(),
                },
            }
        }
    }
}

/// Where an instance's bulk data lies: the paths of its BulkDataURIs, which are `bulkdata/` and the path here.
fn bulk_data_of(json: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![json];
    while let Some(value) = left.pop() {
        match value {
            Value::Object(members) => {
                let uri = members.get("BulkDataURI").and_then(Value::as_str);
                found.extend(uri.and_then(|uri| uri.strip_prefix("bulkdata/")).map(str::to_owned));
                left.extend(members.values().rev());
            }
            Value::Array(values) => left.extend(values.iter().rev()),
            _ => {}
        }
    }
    found
}
