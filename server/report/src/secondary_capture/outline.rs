//! Where a mask ends.

/// Pixels that an outline is thick: one on a slice in its own size, two where it is enlarged.
pub(super) fn thickness(scale: usize) -> usize {
    scale.min(2)
}

/// A mask of rows of `columns` pixels, each pixel made `scale` by `scale`.
pub(super) fn enlarged(mask: &[bool], columns: usize, scale: usize) -> Vec<bool> {
    let mut enlarged = Vec::with_capacity(mask.len() * scale * scale);
    for row in mask.chunks(columns.max(1)) {
        let wide: Vec<bool> = row.iter().flat_map(|pixel| std::iter::repeat_n(*pixel, scale)).collect();
        for _ in 0..scale {
            enlarged.extend_from_slice(&wide);
        }
    }
    enlarged
}

/// Gives `colour` to the pixels of a mask that are no further than `thickness` from one outside it, diagonally too;
/// what lies past the border is outside.
pub(super) fn draw(
    mask: &[bool],
    columns: usize,
    thickness: usize,
    colour: [u8; 3],
    picture: &mut [Option<[u8; 3]>],
) {
    let rows = mask.len().checked_div(columns).unwrap_or_default();
    let is_in = |row: usize, column: usize| mask.get(row * columns + column).copied().unwrap_or_default();
    let is_inner = |row: usize, column: usize| {
        let fits =
            row >= thickness && column >= thickness && row + thickness < rows && column + thickness < columns;
        fits && (row - thickness..=row + thickness)
            .all(|row| (column - thickness..=column + thickness).all(|column| is_in(row, column)))
    };
    for (index, pixel) in picture.iter_mut().enumerate().take(mask.len()) {
        let (row, column) = (index / columns, index % columns);
        if is_in(row, column) && !is_inner(row, column) {
            *pixel = Some(colour);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlines_lie_inside_and_close_at_the_border() {
        let mask = [
            "......", //
            ".#####", //
            ".#####", //
            ".#####", //
            ".....#",
        ];
        let mask: Vec<bool> = mask.concat().chars().map(|c| c == '#').collect();
        let mut picture = vec![None; mask.len()];
        draw(&mask, 6, 1, [1, 2, 3], &mut picture);
        let drawn: String = picture.iter().map(|pixel| if pixel.is_some() { '#' } else { '.' }).collect();
        let expected = [
            "......", //
            ".#####", //
            ".#...#", //
            ".#####", //
            ".....#",
        ];
        assert_eq!(drawn, expected.concat());
    }

    #[test]
    fn masks_grow_by_whole_pixels() {
        let grown = enlarged(&[true, false], 2, 2);
        assert_eq!(grown, [true, true, false, false, true, true, false, false]);
    }
}
