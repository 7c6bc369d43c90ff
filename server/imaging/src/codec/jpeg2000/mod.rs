//! JPEG 2000 and High-Throughput JPEG 2000 (ITU-T T.800, T.814), by OpenJPEG, which decodes both and encodes the
//! former.

mod decode;
mod encode;
mod jp2;

pub(crate) use decode::decode;
pub(crate) use encode::encode;
pub(crate) use jp2::encode_picture;
