//! Codewords of quads and of their exponents' offsets (T.814 annex C and 7.3).

use super::bits::CodewordBits;
use super::vlc_tables::{FIRST_ROW, OTHER_ROWS};
use std::sync::LazyLock;

/// How a quad is coded.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Codeword {
    pub bits: u8,
    pub length: u8,
    /// EMB known: of which samples the codeword tells the most significant bit.
    pub known: u8,
}

static FIRST: LazyLock<Vec<Codeword>> = LazyLock::new(|| by_quad(&FIRST_ROW));
static OTHERS: LazyLock<Vec<Codeword>> = LazyLock::new(|| by_quad(&OTHER_ROWS));

/// The codeword of a quad: its context, which samples are significant, and which of them have the largest exponent,
/// where that has an offset.
pub(super) fn codeword(first_row: bool, context: u8, significant: u8, largest: u8) -> Codeword {
    let table = if first_row { &FIRST } else { &OTHERS };
    table[place(context, significant, largest)]
}

fn place(context: u8, significant: u8, largest: u8) -> usize {
    usize::from(context) << 8 | usize::from(significant) << 4 | usize::from(largest)
}

/// Of each quad, the codeword that tells most.
fn by_quad(table: &[u32]) -> Vec<Codeword> {
    let mut found = vec![Codeword::default(); 1 << 11];
    for entry in table {
        let field = |place: u32, count: u32| (entry >> place & ((1 << count) - 1)) as u8;
        let (context, significant, offset) = (field(24, 3), field(20, 4), field(19, 1));
        let (known, ones) = (field(15, 4), field(11, 4));
        for largest in 0..16 {
            let fits =
                (largest != 0) == (offset == 1) && largest & known == ones && largest & !significant == 0;
            let other = &mut found[place(context, significant, largest)];
            if fits && (other.length == 0 || known.count_ones() > other.known.count_ones()) {
                *other = Codeword { bits: field(4, 7), length: field(0, 4), known };
            }
        }
    }
    found
}

/// Writes the offsets of two quads, of which at least one may be 0: prefixes, then suffixes. Where both exceed 2 in
/// the first row, which an event has told, they are coded less 2; where one does, the other takes a bit (T.814
/// 7.3).
pub(super) fn put_offsets(first_row: bool, [first, second]: [u32; 2], bits: &mut CodewordBits) {
    if first_row && first > 2 && second > 2 {
        put_prefix(first - 2, bits);
        put_prefix(second - 2, bits);
        put_suffix(first - 2, bits);
        put_suffix(second - 2, bits);
    } else if first_row && first > 2 && second > 0 {
        put_prefix(first, bits);
        bits.number(second - 1, 1);
        put_suffix(first, bits);
    } else {
        put_prefix(first, bits);
        put_prefix(second, bits);
        put_suffix(first, bits);
        put_suffix(second, bits);
    }
}

/// The first part of an offset's code (T.814 7.3).
fn put_prefix(offset: u32, bits: &mut CodewordBits) {
    match offset {
        0 => {}
        1 => bits.number(0b1, 1),
        2 => bits.number(0b10, 2),
        3 | 4 => bits.number(0b100, 3),
        _ => bits.number(0, 3),
    }
}

/// The second part, which offsets above 2 have.
fn put_suffix(offset: u32, bits: &mut CodewordBits) {
    match offset {
        0..=2 => {}
        3 | 4 => bits.number(offset - 3, 1),
        _ => bits.number(offset - 5, 5),
    }
}
