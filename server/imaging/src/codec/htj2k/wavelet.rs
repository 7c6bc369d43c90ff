//! The reversible 5-3 wavelet (T.800 annex F).

/// Decomposes a plane of `width` x `height` samples in place, `levels` times. Each time the upper left is left with
/// the low frequencies of both directions, the upper right with high ones across, the lower left with high ones down,
/// the lower right with both.
pub(super) fn forward(plane: &mut [i32], width: usize, height: usize, levels: u32) {
    let mut scratch = vec![0; plane.len()];
    let (mut across, mut down) = (width, height);
    for _ in 0..levels {
        columns(plane, &mut scratch, width, across, down);
        for row in plane.chunks_exact_mut(width).take(down) {
            line(&mut row[..across], &mut scratch[..across]);
        }
        (across, down) = (across.div_ceil(2), down.div_ceil(2));
    }
}

/// One decomposition of every column, row by row.
fn columns(plane: &mut [i32], scratch: &mut [i32], stride: usize, across: usize, down: usize) {
    if down < 2 {
        return;
    }
    for odd in (1..down).step_by(2) {
        let below = if odd + 1 < down { odd + 1 } else { odd - 1 };
        for x in 0..across {
            let sum = plane[(odd - 1) * stride + x] + plane[below * stride + x];
            plane[odd * stride + x] -= sum >> 1;
        }
    }
    for even in (0..down).step_by(2) {
        let above = if even > 0 { even - 1 } else { even + 1 };
        let below = if even + 1 < down { even + 1 } else { even - 1 };
        for x in 0..across {
            let sum = plane[above * stride + x] + plane[below * stride + x];
            plane[even * stride + x] += (sum + 2) >> 2;
        }
    }
    let low = down.div_ceil(2);
    for y in 0..down {
        let place = if y % 2 == 0 { y / 2 } else { low + y / 2 };
        scratch[place * stride..][..across].copy_from_slice(&plane[y * stride..][..across]);
    }
    for y in 0..down {
        plane[y * stride..][..across].copy_from_slice(&scratch[y * stride..][..across]);
    }
}

/// One decomposition of a row.
fn line(row: &mut [i32], scratch: &mut [i32]) {
    let length = row.len();
    if length < 2 {
        return;
    }
    for odd in (1..length).step_by(2) {
        let after = if odd + 1 < length { odd + 1 } else { odd - 1 };
        row[odd] -= (row[odd - 1] + row[after]) >> 1;
    }
    for even in (0..length).step_by(2) {
        let before = if even > 0 { even - 1 } else { even + 1 };
        let after = if even + 1 < length { even + 1 } else { even - 1 };
        row[even] += (row[before] + row[after] + 2) >> 2;
    }
    let low = length.div_ceil(2);
    for (x, value) in row.iter().enumerate() {
        scratch[if x % 2 == 0 { x / 2 } else { low + x / 2 }] = *value;
    }
    row.copy_from_slice(scratch);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_leaves_nothing_in_the_high_frequencies_but_at_its_end() {
        let mut row: Vec<i32> = (0..8).map(|x| 10 * x).collect();
        forward(&mut row, 8, 1, 1);
        assert_eq!(row, [0, 20, 40, 63, 0, 0, 0, 10]);
        let mut column: Vec<i32> = (0..8).map(|x| 10 * x).collect();
        forward(&mut column, 1, 8, 1);
        assert_eq!(column, row);
    }
}
