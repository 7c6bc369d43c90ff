//! Makes the pictures of instances, one after another. Plain blocking calls.

use bytes::Bytes;
use engram_archive::{InstanceEntry, InstanceUids};
use engram_imaging::{Animation, PictureFormat, RenderOptions};
use snafu::ResultExt;

use super::subject::{self, Subject};
use crate::error::{Error, NotFoundSnafu, PixelsSnafu, Result};
use crate::state::DicomWeb;
use crate::wado::entity::EntityTag;
use crate::wado::object;

/// What pictures are made of, and how.
#[derive(Debug, Clone)]
pub struct PictureSource {
    /// The instances, in order.
    pub entries: Vec<InstanceEntry>,
    /// Whether those of them that have no pixels, or none that can be shown, may be missing: in a study or a series.
    pub may_lack: bool,
    /// Frames of each, counted from 1; `None` for all.
    pub frames: Option<Vec<usize>>,
    /// How each picture is to look.
    pub options: RenderOptions,
    /// Whether frames of one instance become one GIF, where the format is GIF.
    pub animated: bool,
}

impl PictureSource {
    /// The validator of an answer of that type; `None` where it depends on more than the instances.
    pub fn tag(&self, media_type: &str, in_parts: bool) -> Option<EntityTag> {
        let alone = self.entries.iter().all(|entry| subject::stands_alone(&entry.sop_class_uid));
        let form = || format!("{:?}", (media_type, in_parts, &self.frames, &self.options, self.animated));
        alone.then(|| EntityTag::of_made(&self.entries, form()))
    }
}

/// Bytes of pictures.
#[derive(Debug)]
pub struct Chunk {
    /// The instance, and the frame where it is one of several, whose picture begins with this chunk.
    pub begins: Option<(InstanceUids, Option<usize>)>,
    pub bytes: Bytes,
}

/// Pictures, made when they are asked for: one object and one picture are in memory at a time.
///
/// Where instances may be missing, those without pixels are passed over, and those whose pixels cannot be shown are
/// left out, unless that leaves none.
pub struct Pictures {
    state: DicomWeb,
    left: std::vec::IntoIter<InstanceEntry>,
    frames: Option<Vec<usize>>,
    options: RenderOptions,
    animated: bool,
    may_lack: bool,
    current: Option<Showing>,
    has_begun: bool,
    /// Why the first of what was left out was.
    left_out: Option<Error>,
}

impl Pictures {
    pub fn new(state: DicomWeb, source: PictureSource) -> Self {
        Self {
            state,
            may_lack: source.may_lack,
            left: source.entries.into_iter(),
            frames: source.frames,
            options: source.options,
            animated: source.animated,
            current: None,
            has_begun: false,
            left_out: None,
        }
    }

    /// The next bytes; `None` at the end.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>> {
        loop {
            let Some(mut showing) = self.current.take() else {
                match self.left.next() {
                    Some(entry) => self.current = self.open(&entry)?,
                    None => return self.end(),
                }
                continue;
            };
            match showing.next_chunk(&self.state, &self.options) {
                Ok(Some(chunk)) => {
                    self.current = Some(showing);
                    self.has_begun = true;
                    return Ok(Some(chunk));
                }
                Ok(None) => {}
                Err(error) if !self.may_lack || showing.has_begun => return Err(error),
                Err(error) => self.leave_out(&showing.uids, error),
            }
        }
    }

    /// Opens an instance; `None` where it is passed over or left out.
    fn open(&mut self, entry: &InstanceEntry) -> Result<Option<Showing>> {
        if self.may_lack && !object::has_pixels(&self.state.archive, entry)? {
            return Ok(None);
        }
        match Showing::open(&self.state, entry, self.frames.clone(), self.animated) {
            Ok(showing) => Ok(Some(showing)),
            Err(error) if !self.may_lack => Err(error),
            Err(error) => {
                self.leave_out(&entry.uids, error);
                Ok(None)
            }
        }
    }

    fn leave_out(&mut self, uids: &InstanceUids, error: Error) {
        tracing::warn!(%error, sop_instance_uid = uids.sop_instance_uid, "left out an instance that cannot be shown");
        self.left_out.get_or_insert(error);
    }

    fn end(&mut self) -> Result<Option<Chunk>> {
        match (self.has_begun, self.left_out.take()) {
            (true, _) => Ok(None),
            (false, Some(error)) => Err(error),
            (false, None) => NotFoundSnafu { what: "an instance with pixels" }.fail(),
        }
    }
}

/// An instance whose pictures are being made.
struct Showing {
    uids: InstanceUids,
    subject: Subject,
    frames: std::vec::IntoIter<usize>,
    is_multi_frame: bool,
    animated: bool,
    animation: Option<Animation>,
    has_begun: bool,
}

impl Showing {
    fn open(
        state: &DicomWeb,
        entry: &InstanceEntry,
        frames: Option<Vec<usize>>,
        animated: bool,
    ) -> Result<Self> {
        let subject = Subject::open(state, entry)?;
        let frames = frames.unwrap_or_else(|| (1..=subject.frames()).collect());
        // Known now, so that a frame that is not there has a status.
        frames.iter().try_for_each(|frame| subject.check(*frame))?;
        Ok(Self {
            uids: entry.uids.clone(),
            is_multi_frame: subject.frames() > 1,
            animated: animated && frames.len() > 1,
            frames: frames.into_iter(),
            subject,
            animation: None,
            has_begun: false,
        })
    }

    fn next_chunk(&mut self, state: &DicomWeb, options: &RenderOptions) -> Result<Option<Chunk>> {
        let Some(frame) = self.frames.next() else { return self.end() };
        let raster = self.subject.raster(state, frame, options.window)?;
        let raster = raster.viewed(options, state.options.decoding()).context(PixelsSnafu)?;
        let is_animation = self.animated && options.format == PictureFormat::Gif;
        let bytes = match &mut self.animation {
            _ if !is_animation => raster.encode(options.format).context(PixelsSnafu)?.bytes,
            Some(animation) => animation.add(&raster).context(PixelsSnafu)?,
            none => {
                let animation = none.insert(self.subject.animation(&raster)?);
                animation.add(&raster).context(PixelsSnafu)?
            }
        };
        let begins = !(is_animation && self.has_begun);
        self.has_begun = true;
        let frame = (self.is_multi_frame && !is_animation).then_some(frame);
        Ok(Some(Chunk { begins: begins.then(|| (self.uids.clone(), frame)), bytes: bytes.into() }))
    }

    fn end(&mut self) -> Result<Option<Chunk>> {
        let Some(animation) = self.animation.take() else { return Ok(None) };
        let bytes = animation.finish().context(PixelsSnafu)?.into();
        Ok(Some(Chunk { begins: None, bytes }))
    }
}
