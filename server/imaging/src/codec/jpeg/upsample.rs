//! From component planes to pixels: chrominance that was stored at half the resolution is interpolated with
//! a triangle filter, as libjpeg does and as every viewer shows it.

use super::dct::Plane;

/// Joins the planes to samples by pixel.
pub(super) fn to_pixels(planes: &[Plane], rows: usize, columns: usize) -> Vec<u16> {
    let mut pixels = vec![0; rows * columns * planes.len()];
    for (component, plane) in planes.iter().enumerate() {
        for (row, out) in pixels.chunks_exact_mut((columns * planes.len()).max(1)).enumerate() {
            let line = line(plane, row, rows, columns);
            for (pixel, sample) in out.chunks_exact_mut(planes.len()).zip(line) {
                pixel[component] = sample;
            }
        }
    }
    pixels
}

/// One image row of a plane.
fn line(plane: &Plane, row: usize, rows: usize, columns: usize) -> Vec<u16> {
    let halved_down = plane.rows == rows.div_ceil(2) && rows > 1;
    let halved_across = plane.columns == columns.div_ceil(2) && columns > 1;
    let source = |row: usize| {
        let start = row.min(plane.rows.saturating_sub(1)) * plane.stride;
        plane.samples.get(start..start + plane.columns).unwrap_or_default()
    };
    if plane.rows == rows && plane.columns == columns {
        return source(row).to_vec();
    }
    if (plane.rows != rows && !halved_down) || (plane.columns != columns && !halved_across) {
        let near = source(row * plane.rows / rows);
        return (0..columns)
            .filter_map(|column| near.get(column * plane.columns / columns).copied())
            .collect();
    }
    // Down: three parts of the nearer row, one of the other; kept four times as large.
    let (near, weight) = if halved_down { (source(row / 2), 4) } else { (source(row), 1) };
    let tall: Vec<u32> = if halved_down {
        let other = if row.is_multiple_of(2) { (row / 2).saturating_sub(1) } else { row / 2 + 1 };
        near.iter().zip(source(other)).map(|(near, far)| 3 * u32::from(*near) + u32::from(*far)).collect()
    } else {
        near.iter().map(|sample| u32::from(*sample)).collect()
    };
    if !halved_across {
        let bias = if row.is_multiple_of(2) { 1 } else { 2 };
        return tall.iter().map(|sum| ((sum + bias) / weight) as u16).collect();
    }
    // Across: likewise. The bias alternates so that rounding does not drift to one side.
    let (left_bias, right_bias) = if halved_down { (8, 7) } else { (1, 2) };
    let at = |column: usize| tall.get(column.min(tall.len().saturating_sub(1))).copied().unwrap_or(0);
    (0..columns)
        .map(|column| {
            let near = 3 * at(column / 2);
            let sum = if column % 2 == 0 {
                near + at((column / 2).saturating_sub(1)) + left_bias
            } else {
                near + at(column / 2 + 1) + right_bias
            };
            (sum / (4 * weight)) as u16
        })
        .collect()
}
