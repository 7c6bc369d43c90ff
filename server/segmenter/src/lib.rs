//! The method: volume, bank and bundle in, label volume, confidence and provenance out.
//!
//! - [`encode_exemplars`]: what an annotated volume teaches, computed once when it enters a bank.
//! - [`segment`]: a target segmented from a bank ([`Exemplars`]) with a bundle ([`Models`]).
//! - [`suggest`]: which series an annotation would help most.
//! - [`baselines`] and [`evaluate`]: what simpler methods reach, and how good results are.
//!
//! Invariants: this room does no I/O, has no clock and no globals; progress and stages go to an [`Observer`] that
//! is passed in, and cancellation comes from it. It knows no DICOM file, no HTTP and no database: bundle and bank
//! are traits, implemented here for the rooms below. The same input gives the same result.

mod bank;
pub mod baselines;
mod crop;
mod encode;
mod engine;
mod error;
pub mod evaluate;
mod exemplars;
#[cfg(test)]
mod fake;
mod masks;
mod memorise;
mod metrics;
mod models;
mod observer;
mod options;
mod result;
mod segment;
pub mod suggest;
mod surface;
mod target;
mod video;

pub use bank::{BankExemplars, Origin};
pub use encode::{CropMemory, LabelMask, PreparedExemplar, PreparedLabel, encode_exemplars};
pub use engine::EngineModels;
pub use error::{BoxError, Error, Result};
pub use exemplars::{Exemplars, MemoryExemplars, Neighbour};
pub use metrics::{Spread, dice, label_sharing, rank_correlation};
pub use models::{DecodedMasks, EncodedImages, ModelSpec, Models};
pub use observer::{Observer, Stage, Unobserved};
pub use options::{Options, Quality, SliceOrder, Tuning};
pub use result::{Segmentation, Signals, SliceReport};
pub use segment::{Click, Clicked, Prompt, Request, Shown, segment};
pub use surface::SurfaceDistance;
pub use video::{FrameMask, FramePoint, VideoPredictor};
