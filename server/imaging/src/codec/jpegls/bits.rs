//! Bits of a JPEG-LS scan: after a byte of ones the next byte has only seven (T.87 A.1).

use crate::codec::{MalformedSnafu, Result, TruncatedSnafu};
use snafu::{OptionExt, ensure};

/// Reads up to the next marker: never past it, and never past the end.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
    /// The next bits, from the top; below the available ones are zeros.
    window: u64,
    available: u32,
    after_ones: bool,
}

impl<'a> BitReader<'a> {
    pub fn new(bytes: &'a [u8], position: usize) -> Self {
        Self { bytes, position, window: 0, available: 0, after_ones: false }
    }

    /// Where reading would go on.
    pub fn position(&self) -> usize {
        self.position
    }

    /// A number of `count` bits, 0 to 32.
    pub fn number(&mut self, count: u32) -> Result<u32> {
        if count == 0 {
            return Ok(0);
        }
        if self.available < count {
            self.fill();
        }
        let number = (self.window >> (64 - count)) as u32;
        self.consume(count)?;
        Ok(number)
    }

    /// How many zeros stand before the next one, which is taken too; at most `limit`.
    pub fn zeros(&mut self, limit: u32) -> Result<u32> {
        let mut total = 0;
        loop {
            if self.available == 0 {
                self.fill();
            }
            let zeros = self.window.leading_zeros().min(self.available);
            total += zeros;
            ensure!(total <= limit, MalformedSnafu { what: "a code is too long" });
            if zeros < self.available {
                self.consume(zeros + 1)?;
                return Ok(total);
            }
            ensure!(zeros > 0, TruncatedSnafu);
            self.consume(zeros)?;
        }
    }

    fn consume(&mut self, count: u32) -> Result<()> {
        self.available = self.available.checked_sub(count).context(TruncatedSnafu)?;
        self.window = self.window.checked_shl(count).unwrap_or(0);
        Ok(())
    }

    fn fill(&mut self) {
        while self.available <= 56 {
            let Some(byte) = self.bytes.get(self.position) else { return };
            let bits = if self.after_ones { 7 } else { 8 };
            if self.after_ones && *byte >= 0x80 {
                return;
            }
            if *byte == 0xFF && self.bytes.get(self.position + 1).is_none_or(|next| *next >= 0x80) {
                return;
            }
            self.window |= u64::from(*byte) << (64 - bits - self.available);
            self.available += bits;
            self.after_ones = *byte == 0xFF;
            self.position += 1;
        }
    }
}

/// Writes a scan's bits behind what is already there.
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits not written yet, from the top.
    window: u64,
    pending: u32,
    after_ones: bool,
}

impl BitWriter {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, window: 0, pending: 0, after_ones: false }
    }

    /// The low `count` bits of a number, 0 to 32; those above must be zeros.
    pub fn number(&mut self, number: u32, count: u32) {
        if count == 0 {
            return;
        }
        self.pending += count;
        self.window |= u64::from(number) << (64 - self.pending);
        loop {
            let bits = if self.after_ones { 7 } else { 8 };
            if self.pending < bits {
                return;
            }
            let byte = (self.window >> (64 - bits)) as u8;
            self.bytes.push(byte);
            self.after_ones = byte == 0xFF;
            self.window <<= bits;
            self.pending -= bits;
        }
    }

    /// Zeros and the one that ends them.
    pub fn zeros(&mut self, count: u32) {
        let mut left = count;
        while left > 31 {
            self.number(0, 31);
            left -= 31;
        }
        self.number(1, left + 1);
    }

    /// Fills the last byte up with zeros; after a byte of ones there is always another, so that no marker arises.
    pub fn finish(mut self) -> Vec<u8> {
        if self.pending > 0 || self.after_ones {
            let bits = if self.after_ones { 7 } else { 8 };
            self.number(0, bits - self.pending);
        }
        self.bytes
    }
}
