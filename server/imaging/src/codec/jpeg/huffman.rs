//! Huffman tables (T.81 annex C and F.2.2.3).

use super::bits::BitReader;
use crate::codec::{MalformedSnafu, Result};
use snafu::{OptionExt, ensure};

/// Codes up to this long are found in one step.
const FAST: u32 = 9;
/// Bits of the longest code.
const LONGEST: u32 = 16;

/// A table ready to decode with.
#[derive(Clone)]
pub(super) struct HuffmanTable {
    /// By the next [`FAST`] bits: length and symbol of the code they start with; length 0 for a longer one.
    fast: Box<[(u8, u8)]>,
    /// By length: one past the largest code, shifted to 16 bits.
    limits: [u32; 17],
    /// By length: what to add to a code to get the index of its symbol.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

impl HuffmanTable {
    /// `counts`: how many codes of each length 1 to 16. `symbols`: in the order of their codes.
    pub fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Self> {
        let mut table = Self {
            fast: vec![(0, 0); 1 << FAST].into_boxed_slice(),
            limits: [0; 17],
            offsets: [0; 17],
            symbols: symbols.to_vec(),
        };
        let (mut code, mut index) = (0u32, 0usize);
        for length in 1..=16u32 {
            let count = u32::from(counts[length as usize - 1]);
            table.offsets[length as usize] = index as i32 - code as i32;
            for symbol in symbols.iter().skip(index).take(count as usize) {
                table.enter(code, length, *symbol);
                code += 1;
            }
            index += count as usize;
            ensure!(code <= 1 << length, MalformedSnafu { what: "a Huffman table has too many codes" });
            table.limits[length as usize] = code << (16 - length);
            code <<= 1;
        }
        ensure!(index == symbols.len(), MalformedSnafu { what: "a Huffman table lacks symbols" });
        Ok(table)
    }

    fn enter(&mut self, code: u32, length: u32, symbol: u8) {
        if let Some(rest) = FAST.checked_sub(length) {
            let first = (code << rest) as usize;
            let places = self.fast.get_mut(first..first + (1 << rest)).unwrap_or_default();
            places.fill((length as u8, symbol));
        }
    }

    /// The next symbol.
    pub fn decode(&self, bits: &mut BitReader) -> Result<u8> {
        let next = bits.peek(16);
        if let Some((length @ 1.., symbol)) = self.fast.get((next >> (16 - FAST)) as usize).copied() {
            bits.consume(u32::from(length))?;
            return Ok(symbol);
        }
        for length in FAST as usize + 1..=16 {
            if next < self.limits[length] {
                bits.consume(length as u32)?;
                let code = (next >> (16 - length)) as i32;
                let index = usize::try_from(code + self.offsets[length]).ok();
                return index
                    .and_then(|index| self.symbols.get(index).copied())
                    .context(MalformedSnafu { what: "a Huffman code is not in its table" });
            }
        }
        MalformedSnafu { what: "a Huffman code is not in its table" }.fail()
    }
}

/// A symbol's code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Code {
    pub symbol: u8,
    /// 1 to 16.
    pub length: u8,
    pub bits: u16,
}

/// Codes for symbols of these frequencies, in their order (T.81 K.2): those that never occur have none, none is
/// longer than 16 bits, and none is all ones. At most 255 symbols.
pub(super) fn short_codes(frequencies: &[usize]) -> Vec<Code> {
    let mut weights = frequencies.to_vec();
    let mut lengths = lengths(&weights);
    // What is too long gets shorter where the frequencies are more alike; codes of a few dozen symbols hardly suffer.
    while lengths.iter().any(|(_, length)| *length > LONGEST) {
        weights.iter_mut().filter(|weight| **weight > 0).for_each(|weight| *weight = *weight / 2 + 1);
        lengths = self::lengths(&weights);
    }
    lengths.sort_unstable_by_key(|(symbol, length)| (*length, *symbol));
    // The last is the one that stands in for all ones.
    lengths.pop();
    let (mut next, mut before) = (0u32, 0);
    let mut codes = Vec::with_capacity(lengths.len());
    for (symbol, length) in lengths {
        next <<= length - before;
        before = length;
        codes.push(Code { symbol: symbol as u8, length: length as u8, bits: next as u16 });
        next += 1;
    }
    codes
}

/// Symbols that occur, and one past the last symbol that is rarer than all, with the lengths of their Huffman codes.
fn lengths(frequencies: &[usize]) -> Vec<(usize, u32)> {
    let mut lengths = vec![0; frequencies.len() + 1];
    let occurring = frequencies.iter().enumerate().filter(|(_, weight)| **weight > 0);
    let mut trees: Vec<(usize, Vec<usize>)> =
        occurring.map(|(symbol, weight)| (*weight, vec![symbol])).collect();
    trees.push((0, vec![frequencies.len()]));
    while trees.len() > 1 {
        trees.sort_unstable_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        let (Some((weight, mut symbols)), Some((other, mut others))) = (trees.pop(), trees.pop()) else {
            break;
        };
        symbols.append(&mut others);
        symbols.iter().for_each(|symbol| lengths[*symbol] += 1);
        trees.push((weight + other, symbols));
    }
    lengths.into_iter().enumerate().filter(|(_, length)| *length > 0).collect()
}
