//! Deflated Image Frame Compression (PS3.5 A.4.13): each frame a raw deflate stream.

use super::{InflateSnafu, Result};
use flate2::read::DeflateDecoder;
use snafu::ResultExt;
use std::io::Read;

/// Inflates, but no more than `limit` bytes: what follows is padding or a lie.
pub(crate) fn decode(bytes: &[u8], limit: u64) -> Result<Vec<u8>> {
    let mut inflated = Vec::new();
    DeflateDecoder::new(bytes).take(limit).read_to_end(&mut inflated).context(InflateSnafu)?;
    Ok(inflated)
}
