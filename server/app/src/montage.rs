//! Slices of a result side by side: the image above, the result over it below, the truth at the bottom.

use image::{Rgb, RgbImage};
use ndarray::{Array3, ArrayView3};

/// Slices shown, spread evenly over where there is something to see.
const SHOWN: usize = 8;
/// A slice is enlarged, in whole steps, to at least so many screen pixels a side.
const LEAST_SIDE: usize = 160;
/// How much of the colour covers the image.
const OPACITY: f32 = 0.5;
/// Share of the image's values that are not shown darker than black, and brighter than white.
const OUTSIDE: f64 = 0.005;
/// Colours of labels 1, 2, ...; then from the start again.
const COLOURS: [[f32; 3]; 6] = [
    [221.0, 130.0, 101.0],
    [90.0, 200.0, 90.0],
    [80.0, 130.0, 240.0],
    [200.0, 100.0, 210.0],
    [230.0, 200.0, 70.0],
    [80.0, 210.0, 210.0],
];

/// The picture. All three are `[slice, row, column]`; a label is a number from 1, 0 is background.
pub fn montage(image: ArrayView3<f32>, result: &Array3<u8>, truth: &Array3<u8>) -> RgbImage {
    let (_, rows, columns) = image.dim();
    let scale = LEAST_SIDE.div_ceil(rows.max(columns).max(1)).max(1) as u32;
    let (width, height) = (columns as u32 * scale, rows as u32 * scale);
    let slices = shown(result, truth);
    let (black, white) = window(image);
    RgbImage::from_fn(width * slices.len() as u32, height * 3, |x, y| {
        let slice = slices[(x / width) as usize];
        let at = [slice, (y % height / scale) as usize, (x % width / scale) as usize];
        let grey = ((image[at] - black) / (white - black)).clamp(0.0, 1.0) * 255.0;
        let label = match y / height {
            0 => 0,
            1 => result[at],
            _ => truth[at],
        };
        blend(grey, label)
    })
}

/// Slices spread evenly from the first to the last that holds anything.
fn shown(result: &Array3<u8>, truth: &Array3<u8>) -> Vec<usize> {
    let holds =
        |volume: &Array3<u8>| volume.outer_iter().map(|s| s.iter().any(|n| *n > 0)).collect::<Vec<_>>();
    let held: Vec<usize> = holds(result)
        .into_iter()
        .zip(holds(truth))
        .enumerate()
        .filter(|(_, (result, truth))| *result || *truth)
        .map(|(slice, _)| slice)
        .collect();
    let (first, last) = (held.first().copied().unwrap_or(0), held.last().copied().unwrap_or(0));
    let mut slices: Vec<usize> = (0..SHOWN).map(|i| first + (last - first) * i / (SHOWN - 1)).collect();
    slices.dedup();
    slices
}

/// Greys that are black and white; never the same.
fn window(image: ArrayView3<f32>) -> (f32, f32) {
    let mut sorted: Vec<f32> = image.iter().copied().collect();
    sorted.sort_by(f32::total_cmp);
    let at = |share: f64| sorted.get((sorted.len() as f64 * share) as usize).copied();
    let black = at(OUTSIDE).unwrap_or(0.0);
    (black, at(1.0 - OUTSIDE).unwrap_or(1.0).max(black + 1e-6))
}

fn blend(grey: f32, label: u8) -> Rgb<u8> {
    let colour = usize::from(label).checked_sub(1).map(|index| COLOURS[index % COLOURS.len()]);
    let mixed = colour.map_or([grey; 3], |colour| colour.map(|c| grey * (1.0 - OPACITY) + c * OPACITY));
    Rgb(mixed.map(|channel| channel.round() as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_three_rows_of_the_slices_that_show_something() {
        let image = Array3::from_shape_fn((5, 80, 100), |(z, y, x)| (z + y + x) as f32);
        let (mut result, mut truth) = (Array3::zeros((5, 80, 100)), Array3::zeros((5, 80, 100)));
        result[[1, 40, 50]] = 1;
        truth[[2, 40, 50]] = 8;
        let picture = montage(image.view(), &result, &truth);
        assert_eq!(picture.dimensions(), (2 * 200, 3 * 160));
        let is_grey = |x: u32, y: u32| {
            let Rgb([r, g, b]) = *picture.get_pixel(x, y);
            r == g && g == b
        };
        // Slice 1 has the result's label alone, slice 2 the truth's.
        assert!(!is_grey(101, 160 + 81) && is_grey(101, 320 + 81));
        assert!(is_grey(301, 160 + 81) && !is_grey(301, 320 + 81));
    }
}
