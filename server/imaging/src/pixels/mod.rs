//! From an object to the samples of a frame, decoded or as stored.

mod encapsulated;
mod fragments;
mod frame;
mod layout;
mod native;
mod reader;
mod syntax;

pub(crate) use frame::with_samples;
pub use frame::{Frame, FrameData, Photometric, StoredFrame};
pub(crate) use native::pack_bits;
pub use reader::{DecodeLimits, PixelReader};
pub(crate) use syntax::EXPLICIT_VR_BIG_ENDIAN;
pub use syntax::is_decodable;

#[cfg(test)]
mod tests;
