//! Gets frames out of stored objects. Plain blocking calls.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use dicom_object::DefaultDicomObject;
use engram_archive::{InstanceEntry, NativePixels};
use engram_imaging::{
    DecodeLimits, Error as ImagingError, Photometric, PixelReader, SampleFormat, TargetSyntax, encode_frame,
    is_decodable,
};
use snafu::ResultExt;

use crate::error::{PixelsSnafu, ReadFileSnafu, Result};
use crate::media::Offer;
use crate::options::DicomWebOptions;
use crate::wado::body::{Segment, read_range};
use crate::wado::{EXPLICIT_VR_LITTLE_ENDIAN, object};

/// The media type of uncompressed frames.
pub const OCTETS: &str = "application/octet-stream";

/// The frames of one stored object. Cheap to clone.
#[derive(Clone)]
pub struct FrameSet {
    /// The instance whose they are.
    pub entry: Arc<InstanceEntry>,
    source: Source,
    frames: usize,
    /// The transfer syntaxes that the frames can be encoded in.
    encodings: Vec<TargetSyntax>,
    /// Whether they can be sent uncompressed.
    is_decodable: bool,
}

#[derive(Clone)]
enum Source {
    /// Uncompressed, little endian, each frame a whole number of bytes: read from the file as they are.
    File { start: u64, frame_bytes: u64, options: Arc<DicomWebOptions> },
    /// Anything else: read whole, decoded and encoded as the client wants it.
    Object { object: Arc<DefaultDicomObject>, stored: Option<(&'static str, String)>, limits: DecodeLimits },
}

impl FrameSet {
    /// Finds the frames of an instance: those that [`Self::native`] finds, else by [`Self::read_whole`].
    pub fn open(entry: &InstanceEntry, first: usize, options: &Arc<DicomWebOptions>) -> Result<Self> {
        if let Some(set) = Self::native(entry, options) {
            set.check(first)?;
            return Ok(set);
        }
        Self::read_whole(entry, first, options)
    }

    /// Frames that can be read from the file as they are, if they can. Touches no file.
    pub fn native(entry: &InstanceEntry, options: &Arc<DicomWebOptions>) -> Option<Self> {
        let pixels = entry.native_pixels.as_ref()?;
        let frame_bytes = frame_bytes(pixels)?;
        let frames = entry.frames.max(1) as usize;
        let needed = frame_bytes.saturating_mul(frames as u64);
        // What is too short is left to the pixel reader, which says so.
        let whole = pixels.value.end.saturating_sub(pixels.value.start) >= needed;
        whole.then(|| Self {
            entry: Arc::new(entry.clone()),
            source: Source::File { start: pixels.value.start, frame_bytes, options: options.clone() },
            frames,
            encodings: encodings(&sample_format(pixels)),
            is_decodable: true,
        })
    }

    /// Reads the object whole. `first` is the first frame that is wanted: one that is not there is reported now.
    pub fn read_whole(entry: &InstanceEntry, first: usize, options: &DicomWebOptions) -> Result<Self> {
        let object = object::open(entry, options)?;
        let limits = options.decoding();
        let is_decodable = is_decodable(object.meta().transfer_syntax());
        let (frames, stored, encodings) = {
            let reader = PixelReader::open(&object, limits).context(PixelsSnafu)?;
            let frame = reader.stored_frame(first).context(PixelsSnafu)?;
            let compressed = frame.media_type != OCTETS;
            let encodings = match is_decodable {
                true => encodings(&reader.sample_format()),
                false => Vec::new(),
            };
            let stored = compressed.then_some((frame.media_type, frame.transfer_syntax));
            (reader.number_of_frames(), stored, encodings)
        };
        let source = Source::Object { object: Arc::new(object), stored, limits };
        Ok(Self { entry: Arc::new(entry.clone()), source, frames, encodings, is_decodable })
    }

    /// The same frames, ready to be read in the form of `offer`: what must be encoded is read whole.
    pub fn ready_for(self, offer: &Offer) -> Result<Self> {
        match &self.source {
            Source::File { options, .. } if offer.transcoded => Self::read_whole(&self.entry, 1, options),
            _ => Ok(self),
        }
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

    /// What `count` frames can be sent as, what the client gets by default first: PS3.18 Tables 8.7.3-2 and 8.7.3-5. Compressed frames are
    /// octets, too, for clients that accept those in any transfer syntax, such as OHIF.
    pub fn offers(&self, count: usize) -> Vec<Offer> {
        let octets = || Offer::multipart(OCTETS);
        let mut types = Vec::new();
        let mut stored_syntax = "";
        if let Source::Object { stored: Some((media_type, syntax)), .. } = &self.source {
            types.push(octets().in_syntax(syntax).if_named());
            types.extend(self.is_decodable.then(|| octets().in_syntax(EXPLICIT_VR_LITTLE_ENDIAN)));
            types.push(Offer::multipart(media_type).in_syntax(syntax));
            stored_syntax = syntax;
        } else {
            types.push(octets().in_syntax(EXPLICIT_VR_LITTLE_ENDIAN));
        }
        for target in self.encodings.iter().filter(|target| target.uid() != stored_syntax) {
            types.push(Offer::multipart(target.media_type()).in_syntax(target.uid()).transcoded());
        }
        let mut offers = Vec::new();
        for multipart in types {
            let single = Offer { multipart: false, ..multipart.clone() };
            offers.push(multipart);
            offers.extend((count == 1).then_some(single));
        }
        offers
    }

    /// Where frames, counted from 1, lie in the file as they are to be sent; `None` where they are made.
    pub fn stretches(&self, frames: &[usize], offer: &Offer) -> Option<Vec<Segment>> {
        let Source::File { start, frame_bytes, .. } = &self.source else { return None };
        let stretch = |frame: &usize| Segment::File {
            path: self.entry.path.clone(),
            range: stretch(*start, *frame_bytes, *frame),
        };
        (!offer.transcoded).then(|| frames.iter().map(stretch).collect())
    }

    /// One frame, counted from 1, in the form of `offer`: samples in little endian, the stored bytes, or encoded anew.
    pub fn read(&self, frame: usize, offer: &Offer) -> Result<Bytes> {
        self.check(frame)?;
        match &self.source {
            Source::File { start, frame_bytes, .. } => {
                let range = stretch(*start, *frame_bytes, frame);
                read_range(&self.entry.path, range).context(ReadFileSnafu).map(Bytes::from)
            }
            Source::Object { object, stored, limits } => {
                let reader = PixelReader::open(object, *limits).context(PixelsSnafu)?;
                let syntax = offer.transfer_syntax.as_deref();
                let decode = stored.is_some() && syntax == Some(EXPLICIT_VR_LITTLE_ENDIAN);
                let target = syntax.and_then(TargetSyntax::of_uid);
                match target.filter(|_| decode || offer.transcoded) {
                    Some(target) => {
                        encode_frame(&reader, frame, target).context(PixelsSnafu).map(Bytes::from)
                    }
                    None => Ok(reader.stored_frame(frame).context(PixelsSnafu)?.bytes.into_owned().into()),
                }
            }
        }
    }
}

/// Where a frame, counted from 1, lies in a file whose frames begin at `start`.
fn stretch(start: u64, frame_bytes: u64, frame: usize) -> Range<u64> {
    let start = start.saturating_add(frame_bytes.saturating_mul(frame.saturating_sub(1) as u64));
    start..start.saturating_add(frame_bytes)
}

/// The transfer syntaxes that compressed frames of that format can be in.
fn encodings(format: &SampleFormat) -> Vec<TargetSyntax> {
    TargetSyntax::OF_FRAMES.into_iter().filter(|target| target.obstacle(format).is_none()).collect()
}

/// What the Image Pixel attributes say of the samples.
fn sample_format(pixels: &NativePixels) -> SampleFormat {
    SampleFormat {
        bits_allocated: pixels.bits_allocated,
        bits_stored: pixels.bits_stored,
        samples_per_pixel: pixels.samples_per_pixel,
        signed: pixels.signed,
        float: false,
        photometric: Photometric::of_name(&pixels.photometric_interpretation),
    }
}

/// Bytes of an uncompressed frame; `None` where frames do not each fill whole bytes, or chrominance is subsampled.
fn frame_bytes(pixels: &NativePixels) -> Option<u64> {
    let photometric = &pixels.photometric_interpretation;
    let bits = u64::from(pixels.bits_allocated);
    if bits == 0 || !bits.is_multiple_of(8) || photometric.ends_with("_422") || photometric.ends_with("_420")
    {
        return None;
    }
    [pixels.rows, pixels.columns, pixels.samples_per_pixel]
        .into_iter()
        .try_fold(bits / 8, |bytes, factor| bytes.checked_mul(u64::from(factor)))
}
