//! The pixel data of several instances, part by part. Plain blocking calls.

use std::ops::RangeInclusive;

use bytes::{Bytes, BytesMut};
use engram_archive::InstanceEntry;
use engram_imaging::Error as Imaging;
use snafu::ResultExt;

use crate::error::{Error, NotFoundSnafu, PixelsSnafu, ReadFileSnafu, Result};
use crate::media::Offer;
use crate::multipart::MultipartWriter;
use crate::state::{DicomWeb, Urls};
use crate::wado::body::{Chunks, Segment, SegmentReader};
use crate::wado::bulkdata::routes::{Found, find};
use crate::wado::frames::FrameSet;
use crate::wado::producer::Producer;
use crate::wado::{EXPLICIT_VR_LITTLE_ENDIAN, PIXEL_DATA};

/// Parts of a multipart answer, made when they are asked for: one buffer, or one compressed object and one of its
/// frames, is in memory at a time.
pub struct Parts {
    state: DicomWeb,
    left: std::vec::IntoIter<InstanceEntry>,
    writer: MultipartWriter,
    urls: Urls,
    current: Option<Part>,
    has_begun: bool,
    is_ended: bool,
}

enum Part {
    Value(SegmentReader),
    Frames { set: FrameSet, left: RangeInclusive<usize>, location: String },
}

impl Parts {
    /// What the parts are.
    pub fn offer() -> Offer {
        Offer::multipart("application/octet-stream").in_syntax(EXPLICIT_VR_LITTLE_ENDIAN)
    }

    pub fn new(state: DicomWeb, entries: Vec<InstanceEntry>, writer: MultipartWriter, urls: Urls) -> Self {
        let left = entries.into_iter();
        Self { state, left, writer, urls, current: None, has_begun: false, is_ended: false }
    }

    /// The next instance's pixel data; `None` where it has none.
    fn open(&self, entry: &InstanceEntry) -> Result<Option<Part>> {
        let found = match find(&self.state, entry, PIXEL_DATA, true) {
            Err(Error::NotFound { .. }) => return Ok(None),
            found => found?,
        };
        let location = self.urls.retrieve_instance(&entry.uids);
        Ok(Some(match found {
            Found::Value(value) => {
                let start = Segment::Bytes(self.part_start(&format!("{location}/pixeldata")));
                Part::Value(SegmentReader::new(vec![start, value], self.state.options.buffer_bytes))
            }
            Found::Frames(set) => Part::Frames { left: 1..=set.len(), set, location },
            Found::Video(_) => {
                let uid = entry.transfer_syntax_uid.as_str();
                return Err(Imaging::UnsupportedTransferSyntax { uid: uid.to_owned() }).context(PixelsSnafu);
            }
        }))
    }

    fn part_start(&self, location: &str) -> Bytes {
        let content_type = format!("application/octet-stream; transfer-syntax={EXPLICIT_VR_LITTLE_ENDIAN}");
        self.writer.part_start(&content_type, Some(location))
    }

    /// The next bytes of a part; `None` where it is at its end.
    fn next_of(&self, part: &mut Part) -> Result<Option<Bytes>> {
        match part {
            Part::Value(reader) => reader.next_chunk().context(ReadFileSnafu),
            Part::Frames { set, left, location } => {
                let Some(frame) = left.next() else { return Ok(None) };
                let pixels = set.read(frame, &Self::offer())?;
                let mut bytes = BytesMut::from(self.part_start(&format!("{location}/frames/{frame}")));
                bytes.extend_from_slice(&pixels);
                Ok(Some(bytes.freeze()))
            }
        }
    }

    fn end(&mut self) -> Result<Option<Bytes>> {
        if !self.has_begun {
            return NotFoundSnafu { what: "an instance with pixel data" }.fail();
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
            match self.left.next() {
                Some(entry) => self.current = self.open(&entry)?,
                None => return self.end(),
            }
        }
    }
}
