//! Bits of an entropy-coded segment, the most significant first, stuffed zero bytes taken out (T.81 F.2.2.5).

use crate::codec::{MalformedSnafu, Result, TruncatedSnafu};
use snafu::{OptionExt, ensure};

const MARKER: u8 = 0xFF;

/// Reads up to the next marker: never past it, and never past the end.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
    /// The next bits, from the top.
    window: u64,
    /// How many bits of the window are real; below them are zeros.
    available: u32,
}

impl<'a> BitReader<'a> {
    pub fn new(bytes: &'a [u8], position: usize) -> Self {
        Self { bytes, position, window: 0, available: 0 }
    }

    /// Where reading would go on: at a marker once the segment is used up.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The next `count` bits, 1 to 16, without taking them; zeros stand in for bits past the end.
    pub fn peek(&mut self, count: u32) -> u32 {
        if self.available < count {
            self.fill();
        }
        (self.window >> (64 - count)) as u32
    }

    /// Takes bits that were peeked at.
    pub fn consume(&mut self, count: u32) -> Result<()> {
        self.available = self.available.checked_sub(count).context(TruncatedSnafu)?;
        self.window <<= count;
        Ok(())
    }

    /// RECEIVE and EXTEND (T.81 F.2.2.1): a signed number of `count` bits, 0 to 16.
    pub fn signed(&mut self, count: u32) -> Result<i32> {
        if count == 0 {
            return Ok(0);
        }
        let value = self.peek(count) as i32;
        self.consume(count)?;
        let half = 1 << (count - 1);
        Ok(if value < half { value - 2 * half + 1 } else { value })
    }

    /// Goes on after the restart marker that must follow here (T.81 E.2.4). `index`: 0 to 7.
    pub fn restart(&mut self, index: u8) -> Result<()> {
        self.window = 0;
        self.available = 0;
        while self.bytes.get(self.position + 1) == Some(&MARKER) {
            self.position += 1;
        }
        let found = self.bytes.get(self.position..self.position + 2).context(TruncatedSnafu)?;
        ensure!(
            found == [MARKER, 0xD0 + index],
            MalformedSnafu { what: "a restart marker is not where it should be" }
        );
        self.position += 2;
        Ok(())
    }

    fn fill(&mut self) {
        while self.available <= 56 {
            let Some(byte) = self.bytes.get(self.position) else { return };
            self.position += 1;
            if *byte == MARKER {
                if self.bytes.get(self.position) != Some(&0) {
                    self.position -= 1;
                    return;
                }
                self.position += 1;
            }
            self.window |= u64::from(*byte) << (56 - self.available);
            self.available += 8;
        }
    }
}

/// Writes an entropy-coded segment behind what is already there.
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits not written yet, from the top.
    window: u64,
    pending: u32,
}

impl BitWriter {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, window: 0, pending: 0 }
    }

    /// The low `count` bits of a number, 0 to 32; those above must be zeros.
    pub fn number(&mut self, number: u32, count: u32) {
        if count == 0 {
            return;
        }
        self.pending += count;
        self.window |= u64::from(number) << (64 - self.pending);
        while self.pending >= 8 {
            let byte = (self.window >> 56) as u8;
            self.bytes.push(byte);
            if byte == MARKER {
                self.bytes.push(0);
            }
            self.window <<= 8;
            self.pending -= 8;
        }
    }

    /// Fills the last byte up with ones (T.81 F.1.2.3).
    pub fn finish(mut self) -> Vec<u8> {
        let missing = (8 - self.pending) % 8;
        self.number((1 << missing) - 1, missing);
        self.bytes
    }
}
