use super::*;
use crate::codec::Samples;
use proptest::prelude::*;

/// Appends bits from the top, with a zero after each byte of ones.
#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    pending: u32,
    count: u32,
}

impl BitWriter {
    fn put(&mut self, value: u32, count: u32) {
        for bit in (0..count).rev() {
            self.pending = self.pending << 1 | value >> bit & 1;
            self.count += 1;
            if self.count == 8 {
                self.bytes.push(self.pending as u8);
                if self.pending == 0xFF {
                    self.bytes.push(0);
                }
                (self.pending, self.count) = (0, 0);
            }
        }
    }

    fn align(&mut self) {
        self.put(0x7F, (8 - self.count) % 8);
    }
}

/// A lossless image whose Huffman table gives every category its own number in 5 bits.
struct Lossless {
    rows: usize,
    columns: usize,
    precision: u8,
    predictor: u8,
    shift: u8,
    lines_to_restart: usize,
}

impl Lossless {
    fn encode(&self, samples: &[u16]) -> Vec<u8> {
        let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xC4, 0, 19 + 17, 0x00];
        bytes.extend([0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(0..17);
        let interval = (self.lines_to_restart * self.columns) as u8;
        bytes.extend([0xFF, 0xDD, 0, 4, 0, interval]);
        let (rows, columns) = (self.rows as u8, self.columns as u8);
        bytes.extend([0xFF, 0xC3, 0, 11, self.precision, 0, rows, 0, columns, 1, 1, 0x11, 0]);
        bytes.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, self.predictor, 0, self.shift]);
        let mut bits = BitWriter::default();
        let at = |row: usize, column: usize| i32::from(samples[row * self.columns + column] >> self.shift);
        for row in 0..self.rows {
            let restarts = self.lines_to_restart > 0 && row % self.lines_to_restart == 0;
            if restarts && row > 0 {
                bits.align();
                bits.bytes.extend([0xFF, 0xD0 + ((row / self.lines_to_restart - 1) % 8) as u8]);
            }
            for column in 0..self.columns {
                let prediction = match (row == 0 || restarts, column) {
                    (true, 0) => 1 << (self.precision - self.shift - 1),
                    (false, 0) => at(row - 1, 0),
                    (true, _) => at(row, column - 1),
                    (false, _) => {
                        let (a, b, c) = (at(row, column - 1), at(row - 1, column), at(row - 1, column - 1));
                        [a, b, c, a + b - c, a + ((b - c) >> 1), b + ((a - c) >> 1), (a + b) >> 1]
                            [usize::from(self.predictor) - 1]
                    }
                };
                let difference = (at(row, column) - prediction) as i16;
                if difference == i16::MIN {
                    bits.put(16, 5);
                    continue;
                }
                let category = 16 - difference.unsigned_abs().leading_zeros();
                bits.put(category, 5);
                let value = if difference < 0 { difference - 1 } else { difference };
                bits.put(u32::from(value as u16) & ((1 << category) - 1), category);
            }
        }
        bits.align();
        bytes.extend(bits.bytes);
        bytes.extend([0xFF, 0xD9]);
        bytes
    }
}

fn decoded(bytes: &[u8], rows: usize, columns: usize) -> Vec<u16> {
    match decode(bytes, (rows, columns)).unwrap().samples {
        Samples::U16(samples) => samples,
        Samples::I32(_) => panic!("JPEG has 16 bits at most"),
    }
}

proptest! {
    #[test]
    fn lossless_gives_back_what_went_in(
        samples in proptest::collection::vec(any::<u16>(), 42),
        predictor in 1u8..=7,
        shift in 0u8..3,
        lines_to_restart in 0usize..4,
        precision in 4u8..=16,
    ) {
        let mask = ((1u32 << precision) - 1) as u16 & !((1 << shift) - 1);
        let samples: Vec<u16> = samples.into_iter().map(|sample| sample & mask).collect();
        let image = Lossless { rows: 6, columns: 7, precision, predictor, shift, lines_to_restart };
        prop_assert_eq!(decoded(&image.encode(&samples), 6, 7), samples);
    }

    #[test]
    fn spoilt_streams_never_panic(place in 0usize..200, value in any::<u8>(), length in 0usize..200) {
        let image = Lossless { rows: 6, columns: 7, precision: 12, predictor: 4, shift: 0, lines_to_restart: 2 };
        let mut bytes = image.encode(&(0..42).map(|sample| sample * 90).collect::<Vec<u16>>());
        bytes.truncate(length);
        if let Some(byte) = bytes.get_mut(place) {
            *byte = value;
        }
        let _ = decode(&bytes, (6, 7));
    }
}

#[test]
fn a_flat_twelve_bit_block_decodes_to_its_mean() {
    // One block: a DC difference of 100 (7 bits) times a step of 8 is 100 levels above the middle; no AC.
    let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xDB, 0, 67, 0];
    bytes.extend([8; 64]);
    bytes.extend([0xFF, 0xC1, 0, 11, 12, 0, 8, 0, 8, 1, 1, 0x11, 0]);
    let table = |class: u8, symbol: u8| {
        let mut table = vec![0xFF, 0xC4, 0, 20, class << 4, 1];
        table.extend([0; 15]);
        table.push(symbol);
        table
    };
    bytes.extend(table(0, 7));
    bytes.extend(table(1, 0));
    bytes.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0]);
    // Code 0, 1100100, code 0 for the end of the block.
    bytes.extend([0b0110_0100, 0b0111_1111, 0xFF, 0xD9]);
    assert_eq!(decoded(&bytes, 8, 8), vec![2048 + 100; 64]);
}

#[test]
fn headers_that_claim_too_much_are_refused() {
    let image = Lossless { rows: 2, columns: 2, precision: 8, predictor: 1, shift: 0, lines_to_restart: 0 };
    let sound = image.encode(&[1, 2, 3, 4]);
    let frame = sound.windows(2).position(|pair| pair == [0xFF, 0xC3]).unwrap();
    // (what is wrong, where after the frame marker, the byte there)
    let cases = [
        ("rows that the attributes do not have", 5, 0xFF),
        ("no size", 6, 0),
        ("17 bits", 4, 17),
        ("4 components", 9, 4),
        ("progressive", 1, 0xC2),
        ("a frame header of 0 bytes", 3, 0),
    ];
    for (what, offset, byte) in cases {
        let mut bytes = sound.clone();
        bytes[frame + offset] = byte;
        assert!(decode(&bytes, (2, 2)).is_err(), "{what}");
    }
    assert!(decode(&sound[..sound.len() - 4], (2, 2)).is_err());
    assert_eq!(decoded(&sound, 2, 2), [1, 2, 3, 4]);
}
