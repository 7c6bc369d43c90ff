//! High-Throughput JPEG 2000 (ITU-T T.814): lossless encoding. Decoding is [`super::jpeg2000`]'s.
//!
//! An encoder of our own: OpenJPEG has none, OpenJPH is C++, and the crates in Rust either ask for a newer compiler
//! than ours (`j2k`) or write what OpenJPEG cannot read (`openjph-core` 0.1). It makes the plainest codestream: one
//! tile, one layer, one precinct a resolution, and of the three coding passes the first alone, which codes every bit
//! plane at once, as lossless encoders do.

mod bits;
mod block;
mod packet;
mod vlc;
mod vlc_tables;
mod wavelet;

use super::{PlainImage, Result, UnsupportedSnafu};
use packet::Band;
use snafu::ensure;

/// Most wavelet decompositions; small images allow fewer.
const MOST_DECOMPOSITIONS: u32 = 5;
/// Sides of a precinct where none is told: a resolution has one precinct up to this size.
const LARGEST_SIDE: usize = 1 << 15;
/// Bit planes above those that a subband's exponent tells (T.800 equation E-2): two suffice for the 5-3 wavelet.
const GUARD_BITS: u32 = 2;

/// Encodes to a codestream. With `colour_transform`, three components are coded as YBR_RCT.
pub(crate) fn encode(image: &PlainImage, colour_transform: bool) -> Result<Vec<u8>> {
    ensure!(
        image.rows <= LARGEST_SIDE && image.columns <= LARGEST_SIDE,
        UnsupportedSnafu { what: "more than 32768 rows or columns" }
    );
    let transformed = colour_transform && image.components == 3;
    let levels = image.rows.min(image.columns).max(1).ilog2().min(MOST_DECOMPOSITIONS);
    let mut planes = planes(image);
    if transformed {
        transform_colour(&mut planes);
    }
    for plane in &mut planes {
        wavelet::forward(plane, image.columns, image.rows, levels);
    }
    let mut packets = Vec::new();
    for resolution in 0..=levels {
        for plane in &planes {
            let bands = bands(image, levels, resolution, transformed);
            packet::write(plane, image.columns, &bands, &mut packets);
        }
    }
    let mut bytes = main_header(image, levels, transformed);
    // SOT: the only tile-part of the only tile, then SOD.
    bytes.extend([0xFF, 0x90, 0, 10, 0, 0]);
    bytes.extend((12 + 2 + packets.len() as u32).to_be_bytes());
    bytes.extend([0, 1, 0xFF, 0x93]);
    bytes.append(&mut packets);
    bytes.extend([0xFF, 0xD9]);
    Ok(bytes)
}

/// Components apart, unsigned samples shifted around zero (T.800 G.1).
fn planes(image: &PlainImage) -> Vec<Vec<i32>> {
    let shift = if image.signed { 0 } else { 1 << (image.precision - 1) };
    let plane = |index| {
        let samples = image.samples.iter().skip(index).step_by(image.components);
        samples.map(|sample| sample - shift).collect()
    };
    (0..image.components).map(plane).collect()
}

/// The reversible component transform (T.800 G.2).
fn transform_colour(planes: &mut [Vec<i32>]) {
    let [red, green, blue] = planes else { return };
    for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
        let (r, g, b) = (*red, *green, *blue);
        (*red, *green, *blue) = ((r + 2 * g + b) >> 2, b - g, r - g);
    }
}

/// log2 of a subband's gain (T.800 table E.1), in the order of the subbands of a resolution: HL, LH, HH.
const GAINS: [u32; 3] = [1, 1, 2];

/// The exponent of a subband (T.800 equation E-5). A colour transform takes a bit more.
fn exponent(image: &PlainImage, gain: u32, transformed: bool) -> u32 {
    u32::from(image.precision) + gain + u32::from(transformed)
}

/// The subbands of a resolution: LL of the lowest, else HL, LH and HH (T.800 B.5), as [`wavelet::forward`] leaves
/// them.
fn bands(image: &PlainImage, levels: u32, resolution: u32, transformed: bool) -> Vec<Band> {
    let bit_planes = |gain| GUARD_BITS + exponent(image, gain, transformed) - 1;
    let (columns, rows) = (image.columns, image.rows);
    let reduced = |side: usize, level: u32| side.div_ceil(1 << level);
    if resolution == 0 {
        let (width, height) = (reduced(columns, levels), reduced(rows, levels));
        return vec![Band { left: 0, top: 0, width, height, bit_planes: bit_planes(0) }];
    }
    let level = levels - resolution + 1;
    let (across, down) = (reduced(columns, level - 1), reduced(rows, level - 1));
    let (left, top) = (reduced(columns, level), reduced(rows, level));
    let places =
        [(left, 0, across - left, top), (0, top, left, down - top), (left, top, across - left, down - top)];
    let band =
        |((left, top, width, height), gain)| Band { left, top, width, height, bit_planes: bit_planes(gain) };
    places.into_iter().zip(GAINS).map(band).collect()
}

/// SOC, SIZ, CAP, COD and QCD (T.800 A.4 to A.6, T.814 annex A).
fn main_header(image: &PlainImage, levels: u32, transformed: bool) -> Vec<u8> {
    let components = image.components as u8;
    let mut bytes = vec![0xFF, 0x4F, 0xFF, 0x51, 0, 38 + 3 * components];
    // Capabilities of another part.
    bytes.extend([0x40, 0]);
    let (columns, rows) = (image.columns as u32, image.rows as u32);
    for value in [columns, rows, 0, 0, columns, rows, 0, 0] {
        bytes.extend(value.to_be_bytes());
    }
    bytes.extend([0, components]);
    (0..components).for_each(|_| bytes.extend([u8::from(image.signed) << 7 | (image.precision - 1), 1, 1]));
    // Of part 15: high throughput blocks only, one set of coding passes, no region of interest, reversible; and the
    // largest magnitude, in bit planes.
    let bit_planes = GUARD_BITS + exponent(image, 2, transformed) - 1;
    let magnitudes = bit_planes.saturating_sub(8);
    bytes.extend([0xFF, 0x50, 0, 8, 0, 2, 0, 0, 0, magnitudes as u8]);
    // Progression by layer, resolution, component; blocks of 64 x 64; high throughput; 5-3 wavelet.
    bytes.extend([0xFF, 0x52, 0, 12, 0, 0, 0, 1, u8::from(transformed), levels as u8, 4, 4, 0x40, 1]);
    bytes.extend([0xFF, 0x5C, 0, 4 + 3 * levels as u8, (GUARD_BITS << 5) as u8]);
    let gains = std::iter::once(0).chain((0..levels).flat_map(|_| GAINS));
    bytes.extend(gains.map(|gain| (exponent(image, gain, transformed) << 3) as u8));
    bytes
}
