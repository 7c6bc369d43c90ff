//! The inverse DCT (T.81 A.3.3), in single precision: exact to less than half a level at 12 bits, so that a
//! result differs from an integer implementation by rounding only.

/// Half cosines of k pi / 16.
const C1: f32 = 0.490_392_64;
const C2: f32 = 0.461_939_77;
const C3: f32 = 0.415_734_8;
const C4: f32 = 0.353_553_38;
const C5: f32 = 0.277_785_12;
const C6: f32 = 0.191_341_71;
const C7: f32 = 0.097_545_16;

/// Transforms a block of 64 coefficients, row by row, and writes its samples into `place`, rows `stride`
/// apart. Samples that `place` has no room for are dropped.
pub(super) fn write(coefficients: &[f32; 64], precision: u8, place: &mut [u16], stride: usize) {
    let middle = f32::from(1u16 << (precision - 1));
    let largest = f32::from((1u16 << precision) - 1);
    let level = |value: f32| (value + middle).round().clamp(0.0, largest) as u16;

    if coefficients.iter().skip(1).all(|coefficient| *coefficient == 0.0) {
        let sample = level(coefficients[0] * (C4 * C4));
        for row in place.chunks_mut(stride).take(8) {
            row.get_mut(..8).unwrap_or_default().fill(sample);
        }
        return;
    }
    let mut rows = [[0.0; 8]; 8];
    for (row, coefficients) in rows.iter_mut().zip(coefficients.as_chunks::<8>().0) {
        *row = one_dimension(*coefficients);
    }
    let mut columns = [[0.0; 8]; 8];
    for (index, column) in columns.iter_mut().enumerate() {
        *column = one_dimension(rows.map(|row| row[index]));
    }
    for (y, row) in place.chunks_mut(stride).take(8).enumerate() {
        for (sample, column) in row.iter_mut().zip(&columns) {
            *sample = level(column[y]);
        }
    }
}

/// Even and odd frequencies apart: the second half of the result mirrors the first.
fn one_dimension(f: [f32; 8]) -> [f32; 8] {
    let (sum, difference) = (C4 * (f[0] + f[4]), C4 * (f[0] - f[4]));
    let (outer, inner) = (C2 * f[2] + C6 * f[6], C6 * f[2] - C2 * f[6]);
    let even = [sum + outer, difference + inner, difference - inner, sum - outer];
    let odd = [
        C1 * f[1] + C3 * f[3] + C5 * f[5] + C7 * f[7],
        C3 * f[1] - C7 * f[3] - C1 * f[5] - C5 * f[7],
        C5 * f[1] - C1 * f[3] + C7 * f[5] + C3 * f[7],
        C7 * f[1] - C5 * f[3] + C3 * f[5] - C1 * f[7],
    ];
    [
        even[0] + odd[0],
        even[1] + odd[1],
        even[2] + odd[2],
        even[3] + odd[3],
        even[3] - odd[3],
        even[2] - odd[2],
        even[1] - odd[1],
        even[0] - odd[0],
    ]
}
