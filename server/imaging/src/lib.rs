//! Pixels and geometry: decodes pixel data, applies modality and VOI transforms, assembles slices into
//! volumes and resamples them.
//!
//! Invariants: this room knows nothing of storage, HTTP or models, does no I/O, and never panics or allocates
//! past [`DecodeLimits`] and [`VolumeLimits`] whatever a file claims. Frames are counted from 1, as
//! ReferencedFrameNumber and the frame list of WADO-RS are; coordinates are LPS, in millimetres.
//!
//! - [`read_part10`]: a file to an object, forgiving where nothing depends on it.
//! - [`PixelReader`]: the frames of an object, decoded ([`Frame`]) or as stored ([`StoredFrame`]).
//! - [`transcode`], [`encode_frame`]: an object or a frame in another transfer syntax.
//! - [`Modality`], [`Voi`], [`render`]: from stored values to a picture; [`Raster`] and [`Animation`] are its steps.
//! - [`assemble`]: from a series' objects to [`Volume`]s.
//! - [`resample`]: the letterbox and windowing that models want, and the way back.

mod attributes;
mod codec;
mod error;
mod part10;
mod pixels;
pub mod resample;
#[cfg(test)]
mod testing;
mod transcode;
mod transform;
mod volume;

pub use codec::CodecError;
pub use error::{Error, Result};
pub use part10::{data_set_offset, read_header, read_part10};
pub use pixels::{DecodeLimits, Frame, FrameData, Photometric, PixelReader, StoredFrame, is_decodable};
pub use transcode::{
    SampleFormat, TargetSyntax, TranscodeLimits, Transcoded, encode_frame, transcode, word_bytes,
};
pub use transform::{
    Animation, ColourSpace, Colours, Lut, Modality, Picture, PictureFormat, PresentationState, Raster,
    ReferencedImage, Region, RenderOptions, Voi, VoiFunction, Window, render, srgb_of_cielab,
};
pub use volume::{NotAVolume, SliceSource, Volume, VolumeGeometry, VolumeLimits, VolumeNote, assemble};
