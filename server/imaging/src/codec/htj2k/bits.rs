//! The four ways in which bits are put into bytes (T.800 B.10.1, T.814 7.1). All avoid what looks like a marker.

/// Bits of a packet header or of events, the most significant first; after a byte of ones the next has seven.
#[derive(Default)]
pub(super) struct UpperBits {
    bytes: Vec<u8>,
    byte: u8,
    used: u32,
}

impl UpperBits {
    pub fn bit(&mut self, bit: u32) {
        self.byte = self.byte << 1 | bit as u8;
        self.used += 1;
        if self.used == self.room() {
            self.bytes.push(self.byte);
            (self.byte, self.used) = (0, 0);
        }
    }

    pub fn number(&mut self, number: u32, count: u32) {
        (0..count).rev().for_each(|place| self.bit(number >> place & 1));
    }

    /// Bits of the byte at hand.
    fn room(&self) -> u32 {
        if self.bytes.last() == Some(&0xFF) { 7 } else { 8 }
    }

    /// Fills the last byte up; after a byte of ones there is always another.
    pub fn finish(mut self) -> Vec<u8> {
        while self.used > 0 || self.room() == 7 {
            self.bit(0);
        }
        self.bytes
    }
}

/// Magnitudes and signs, the least significant bit first; after a byte of ones the next has seven (T.814 7.1).
#[derive(Default)]
pub(super) struct MagnitudeBits {
    bytes: Vec<u8>,
    window: u64,
    used: u32,
    after_ones: bool,
}

impl MagnitudeBits {
    /// The low `count` bits of a number, 0 to 32; those above must be zeros.
    pub fn number(&mut self, number: u32, count: u32) {
        self.window |= u64::from(number) << self.used;
        self.used += count;
        loop {
            let room = if self.after_ones { 7 } else { 8 };
            if self.used < room {
                return;
            }
            let byte = (self.window & ((1 << room) - 1)) as u8;
            self.bytes.push(byte);
            self.after_ones = byte == 0xFF;
            self.window >>= room;
            self.used -= room;
        }
    }

    /// Fills the last byte up with ones; a last byte of ones is understood and left out.
    pub fn finish(mut self) -> Vec<u8> {
        if self.used > 0 {
            let missing = if self.after_ones { 7 } else { 8 } - self.used;
            self.number((1 << missing) - 1, missing);
        }
        if self.after_ones {
            self.bytes.pop();
        }
        self.bytes
    }
}

/// Exponents of the MEL coder's states (T.814 7.3).
const MEL_EXPONENTS: [u32; 13] = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5];

/// The adaptive run-length coder of events (T.814 7.3).
#[derive(Default)]
pub(super) struct EventBits {
    bits: UpperBits,
    run: u32,
    state: usize,
}

impl EventBits {
    pub fn event(&mut self, event: bool) {
        let exponent = MEL_EXPONENTS[self.state];
        if event {
            self.bits.bit(0);
            self.bits.number(std::mem::take(&mut self.run), exponent);
            self.state = self.state.saturating_sub(1);
            return;
        }
        self.run += 1;
        if self.run == 1 << exponent {
            self.bits.bit(1);
            self.run = 0;
            self.state = (self.state + 1).min(MEL_EXPONENTS.len() - 1);
        }
    }
}

/// Codewords, the least significant bit first, in bytes that are read backwards. A byte of which the one before
/// exceeds 0x8F has seven bits if they are all ones (T.814 7.1).
pub(super) struct CodewordBits {
    /// In the order of writing; the first, and the low half of the second, are for the length of the segments.
    bytes: Vec<u8>,
    byte: u8,
    used: u32,
    after_large: bool,
}

impl CodewordBits {
    pub fn new() -> Self {
        Self { bytes: vec![0xFF], byte: 0x0F, used: 4, after_large: true }
    }

    /// The low `count` bits of a number.
    pub fn number(&mut self, number: u32, count: u32) {
        for place in 0..count {
            self.byte |= ((number >> place & 1) as u8) << self.used;
            self.used += 1;
            let is_full = self.used == 8 || (self.used == 7 && self.after_large && self.byte == 0x7F);
            if is_full {
                self.bytes.push(self.byte);
                self.after_large = self.byte > 0x8F;
                (self.byte, self.used) = (0, 0);
            }
        }
    }
}

/// The events, then the codewords: the segment after the magnitudes, its length in its last bytes (T.814 7.1).
/// The two may share the byte in which they meet.
pub(super) fn finish(events: EventBits, mut codewords: CodewordBits) -> Vec<u8> {
    let EventBits { bits: mut events, run, .. } = events;
    if run > 0 {
        events.bit(1);
    }
    let unused = events.room() - events.used;
    let event_byte = ((u32::from(events.byte) << unused) & 0xFF) as u8;
    let event_mask = ((0xFF << unused) & 0xFF) as u8;
    let codeword_mask = if codewords.used == 0 { 0 } else { 0xFF >> (8 - codewords.used) };
    if event_mask | codeword_mask != 0 {
        let both = event_byte | codewords.byte;
        let clash = (both ^ event_byte) & event_mask | (both ^ codewords.byte) & codeword_mask;
        events.bytes.push(if clash == 0 && both != 0xFF && codewords.bytes.len() > 1 {
            both
        } else {
            codewords.bytes.push(codewords.byte);
            event_byte
        });
    }
    let mut bytes = events.bytes;
    bytes.extend(codewords.bytes.iter().rev());
    let length = bytes.len();
    if let [.., before, last] = bytes.as_mut_slice() {
        *last = (length >> 4) as u8;
        *before = *before & 0xF0 | (length & 0x0F) as u8;
    }
    bytes
}
