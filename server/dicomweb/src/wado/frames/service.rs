//! Gets frames out of stored objects. Plain blocking calls.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use dicom_object::DefaultDicomObject;
use engram_archive::{Archive, BulkValue, InstanceEntry};
use engram_imaging::{DecodeLimits, Error as ImagingError, FrameData, PixelReader};
use serde_json::{Map, Value};
use snafu::ResultExt;

use crate::error::{ArchiveSnafu, PixelsSnafu, ReadFileSnafu, Result};
use crate::media::Offer;
use crate::options::DicomWebOptions;
use crate::wado::body::read_range;
use crate::wado::{EXPLICIT_VR_LITTLE_ENDIAN, object};

/// The frames of one stored object. Cheap to clone.
#[derive(Clone)]
pub struct FrameSet {
    source: Source,
    frames: usize,
}

#[derive(Clone)]
enum Source {
    /// Uncompressed, little endian, each frame a whole number of bytes: read from the file as they are.
    File { path: PathBuf, start: u64, frame_bytes: u64 },
    /// Anything else: read whole, and decoded where the client wants it so.
    Object { object: Arc<DefaultDicomObject>, stored: Option<(&'static str, String)>, limits: DecodeLimits },
}

impl FrameSet {
    /// Finds the frames of an instance. `first` is the first frame that is wanted: one that is not there is
    /// reported now.
    pub fn open(
        archive: &Archive,
        entry: &InstanceEntry,
        first: usize,
        options: &DicomWebOptions,
    ) -> Result<Self> {
        let frames = entry.frames.max(1) as usize;
        if let Some(source) = native(archive, entry, frames)? {
            let set = Self { source, frames };
            set.check(first)?;
            return Ok(set);
        }
        let object = object::open(entry, options)?;
        let limits = options.decoding();
        let (frames, stored) = {
            let reader = PixelReader::open(&object, limits).context(PixelsSnafu)?;
            let frame = reader.stored_frame(first).context(PixelsSnafu)?;
            let compressed = frame.media_type != "application/octet-stream";
            (reader.number_of_frames(), compressed.then_some((frame.media_type, frame.transfer_syntax)))
        };
        Ok(Self { source: Source::Object { object: Arc::new(object), stored, limits }, frames })
    }

    /// NumberOfFrames.
    pub fn len(&self) -> usize {
        self.frames
    }

    /// An error where one of `frames` is not there.
    pub fn check_all(&self, frames: &[usize]) -> Result<()> {
        frames.iter().try_for_each(|frame| self.check(*frame))
    }

    fn check(&self, frame: usize) -> Result<()> {
        match (1..=self.frames).contains(&frame) {
            true => Ok(()),
            false => Err(ImagingError::NoSuchFrame { frame, frames: self.frames }).context(PixelsSnafu),
        }
    }

    /// What `count` frames can be sent as, what the client gets by default first: PS3.18 Tables 8.7.3-2 and 8.7.3-5.
    pub fn offers(&self, count: usize) -> Vec<Offer> {
        let mut types = vec![("application/octet-stream", EXPLICIT_VR_LITTLE_ENDIAN)];
        if let Source::Object { stored: Some((media_type, syntax)), .. } = &self.source {
            types.push((media_type, syntax));
        }
        let mut offers = Vec::new();
        for (media_type, syntax) in types {
            offers.push(Offer::multipart(media_type).in_syntax(syntax));
            if count == 1 {
                offers.push(Offer::single(media_type).in_syntax(syntax));
            }
        }
        offers
    }

    /// One frame, counted from 1, in the form of `offer`: samples in little endian, or the stored bytes.
    pub fn read(&self, frame: usize, offer: &Offer) -> Result<Bytes> {
        self.check(frame)?;
        match &self.source {
            Source::File { path, start, frame_bytes } => {
                let start = start.saturating_add(frame_bytes.saturating_mul(frame as u64 - 1));
                let range = start..start.saturating_add(*frame_bytes);
                read_range(path, range).context(ReadFileSnafu).map(Bytes::from)
            }
            Source::Object { object, stored, limits } => {
                let reader = PixelReader::open(object, *limits).context(PixelsSnafu)?;
                let decode = stored.is_some() && offer.media_type == "application/octet-stream";
                match decode {
                    true => Ok(little_endian(reader.frame(frame).context(PixelsSnafu)?.data)),
                    false => Ok(reader.stored_frame(frame).context(PixelsSnafu)?.bytes.into_owned().into()),
                }
            }
        }
    }
}

/// Where the frames lie in the file, if they can be read from it as they are.
fn native(archive: &Archive, entry: &InstanceEntry, frames: usize) -> Result<Option<Source>> {
    let bulk_data = archive.bulk_data(entry, "7FE00010").context(ArchiveSnafu)?;
    let Some(bulk_data) = bulk_data.filter(|data| !data.big_endian) else { return Ok(None) };
    let BulkValue::Native(range) = bulk_data.value else { return Ok(None) };
    let uids = &entry.uids;
    let attributes = archive
        .instance_json(&uids.study_instance_uid, &uids.series_instance_uid, &uids.sop_instance_uid)
        .context(ArchiveSnafu)?;
    let Some(frame_bytes) = attributes.as_ref().and_then(frame_bytes) else { return Ok(None) };
    let needed = frame_bytes.saturating_mul(frames as u64);
    // What is too short is left to the pixel reader, which says so.
    let whole = range.end.saturating_sub(range.start) >= needed;
    Ok(whole.then(|| Source::File { path: entry.path.clone(), start: range.start, frame_bytes }))
}

/// Bytes of an uncompressed frame; `None` where frames do not each fill whole bytes, or chrominance is subsampled.
fn frame_bytes(attributes: &Map<String, Value>) -> Option<u64> {
    let value = |tag: &str| attributes.get(tag)?.get("Value")?.get(0);
    let number = |tag: &str| value(tag)?.as_u64();
    let photometric = value("00280004")?.as_str()?;
    let bits = number("00280100")?;
    if bits == 0 || !bits.is_multiple_of(8) || photometric.ends_with("_422") || photometric.ends_with("_420")
    {
        return None;
    }
    let samples = number("00280002").unwrap_or(1);
    [number("00280010")?, number("00280011")?, samples]
        .iter()
        .try_fold(bits / 8, |bytes, factor| bytes.checked_mul(*factor))
}

/// Samples as Explicit VR Little Endian pixel data would hold them.
fn little_endian(samples: FrameData) -> Bytes {
    let bytes: Vec<u8> = match samples {
        FrameData::U8(samples) => samples,
        FrameData::I8(samples) => samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
        FrameData::U16(samples) => samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
        FrameData::I16(samples) => samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
        FrameData::U32(samples) => samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
        FrameData::I32(samples) => samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
        FrameData::F32(samples) => samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
        FrameData::F64(samples) => samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
    };
    bytes.into()
}
