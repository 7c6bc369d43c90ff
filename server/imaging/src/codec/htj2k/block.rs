//! The cleanup pass of a code block (T.814 7.3), with which all its bit planes are coded.

use super::bits::{self, CodewordBits, EventBits, MagnitudeBits};
use super::vlc::{codeword, put_offsets};

/// Four samples: two rows, coded column by column.
#[derive(Clone, Copy, Default)]
struct Quad {
    /// By sample: twice the magnitude less one, and the sign in the lowest bit.
    values: [u32; 4],
    /// By sample: bits of its magnitude above the lowest, 0 where it is 0.
    exponents: [u8; 4],
    /// A bit a sample.
    significant: u8,
}

struct Coder {
    magnitudes: MagnitudeBits,
    events: EventBits,
    codewords: CodewordBits,
}

/// Encodes rows of `width` samples, 64 of 64 at most. `None` where all are 0.
pub(super) fn encode(rows: &[&[i32]], width: usize) -> Option<Vec<u8>> {
    if rows.iter().all(|row| row.iter().all(|sample| *sample == 0)) {
        return None;
    }
    let mut coder = Coder {
        magnitudes: MagnitudeBits::default(),
        events: EventBits::default(),
        codewords: CodewordBits::new(),
    };
    // Exponents of the row above, one place before its first sample and after its last quad.
    let mut above = vec![0; width.next_multiple_of(2) + 2];
    for (index, pair) in rows.chunks(2).enumerate() {
        let quads: Vec<Quad> = (0..width).step_by(2).map(|x| Quad::new(pair, x)).collect();
        coder.row(&quads, &above, index == 0);
        for (quad, places) in quads.iter().zip(above[1..].chunks_exact_mut(2)) {
            places.copy_from_slice(&[quad.exponents[1], quad.exponents[3]]);
        }
    }
    let mut bytes = coder.magnitudes.finish();
    bytes.append(&mut bits::finish(coder.events, coder.codewords));
    Some(bytes)
}

impl Quad {
    fn new(rows: &[&[i32]], x: usize) -> Self {
        let mut quad = Self::default();
        for (index, (x, y)) in [(x, 0), (x, 1), (x + 1, 0), (x + 1, 1)].into_iter().enumerate() {
            let sample = rows.get(y).and_then(|row| row.get(x)).copied().unwrap_or(0);
            if sample != 0 {
                let magnitude = sample.unsigned_abs();
                quad.values[index] = 2 * (magnitude - 1) + u32::from(sample < 0);
                quad.exponents[index] = (u32::BITS - (2 * magnitude - 1).leading_zeros()) as u8;
                quad.significant |= 1 << index;
            }
        }
        quad
    }

    fn largest_exponent(&self) -> u8 {
        self.exponents.into_iter().max().unwrap_or(0)
    }

    /// Which samples have that exponent.
    fn with_exponent(&self, exponent: u8) -> u8 {
        (0..4).filter(|index| self.exponents[*index] == exponent).fold(0, |mask, index| mask | 1 << index)
    }
}

impl Coder {
    fn row(&mut self, quads: &[Quad], above: &[u8], first_row: bool) {
        let mut left = Quad::default();
        for (pair, quads) in quads.chunks(2).enumerate() {
            let mut offsets = [0; 2];
            for (index, quad) in quads.iter().enumerate() {
                let near = &above[4 * pair + 2 * index..][..4];
                let context = if first_row { first_context(&left) } else { other_context(&left, near) };
                let predicted = if first_row { 1 } else { predicted_exponent(quad, near) };
                offsets[index] = self.quad(quad, context, predicted, first_row);
                left = *quad;
            }
            if first_row && offsets[0] > 0 && offsets[1] > 0 {
                self.events.event(offsets[0] > 2 && offsets[1] > 2);
            }
            put_offsets(first_row, offsets, &mut self.codewords);
        }
    }

    /// Codes a quad but for the offset of its exponent to the predicted one, which it returns.
    fn quad(&mut self, quad: &Quad, context: u8, predicted: u8, first_row: bool) -> u32 {
        let largest = quad.largest_exponent();
        let exponent = largest.max(predicted);
        let with_largest = if exponent > predicted { quad.with_exponent(largest) } else { 0 };
        if context == 0 {
            self.events.event(quad.significant != 0);
        }
        let codeword = codeword(first_row, context, quad.significant, with_largest);
        self.codewords.number(codeword.bits.into(), codeword.length.into());
        for index in (0..4).filter(|index| quad.significant >> index & 1 == 1) {
            let count = u32::from(exponent) - u32::from(codeword.known >> index & 1);
            self.magnitudes.number(quad.values[index] & ((1 << count) - 1), count);
        }
        u32::from(exponent - predicted)
    }
}

/// The context of a quad of the first row by the one left of it (T.814 7.3).
fn first_context(left: &Quad) -> u8 {
    left.significant >> 1 | left.significant & 1
}

/// The context of any other: what is significant above to the left, to the left, above to the right. `near`: exponents
/// of the row above, from the sample before the quad to the one after.
fn other_context(left: &Quad, near: &[u8]) -> u8 {
    let above = |range: std::ops::Range<usize>| near[range].iter().any(|exponent| *exponent > 0);
    u8::from(above(0..2)) | u8::from(left.significant & 0b1100 != 0) << 1 | u8::from(above(2..4)) << 2
}

/// The exponent that a quad is taken to have by those above it (T.814 7.3).
fn predicted_exponent(quad: &Quad, near: &[u8]) -> u8 {
    let largest = near.iter().copied().max().unwrap_or(0);
    if quad.significant.count_ones() > 1 { largest.saturating_sub(1).max(1) } else { 1 }
}
