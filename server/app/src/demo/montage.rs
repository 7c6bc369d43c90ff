//! A picture of a result: slices side by side, the image above, the result below it, the truth at the bottom.

use std::path::Path;

use image::{Rgb, RgbImage};
use ndarray::Array3;

use crate::cli::Failure;
use crate::phantom::{Organ, Phantom};

/// Slices shown, spread evenly over where the organs are.
const SHOWN: usize = 8;
/// Screen pixels for a voxel, in either direction.
const SCALE: u32 = 2;
/// How much of the colour covers the image.
const OPACITY: f32 = 0.5;
/// Share of the image's values that are not shown brighter than white.
const WHITE: f64 = 0.995;

/// Writes the picture as a PNG file.
pub fn save(path: &Path, target: &Phantom, result: &Array3<u8>) -> Result<(), Failure> {
    let (_, rows, columns) = target.pixels.dim();
    let (width, height) = (columns as u32 * SCALE, rows as u32 * SCALE);
    let slices = shown(&target.truth);
    let white = f32::from(percentile(&target.pixels, WHITE).max(1));
    let picture = RgbImage::from_fn(width * slices.len() as u32, height * 3, |x, y| {
        let slice = slices[(x / width) as usize];
        let at = [slice, (y % height / SCALE) as usize, (x % width / SCALE) as usize];
        let grey = (f32::from(target.pixels[at]) / white).min(1.0) * 255.0;
        let organ = match y / height {
            0 => 0,
            1 => result[at],
            _ => target.truth[at],
        };
        blend(grey, organ)
    });
    picture.save(path).map_err(|error| Failure::say(format!("could not write {}: {error}", path.display())))
}

/// Slices spread evenly from the first to the last that holds an organ.
fn shown(truth: &Array3<u8>) -> Vec<usize> {
    let held: Vec<usize> = truth
        .outer_iter()
        .enumerate()
        .filter(|(_, slice)| slice.iter().any(|n| *n > 0))
        .map(|(i, _)| i)
        .collect();
    let (first, last) = (held.first().copied().unwrap_or(0), held.last().copied().unwrap_or(0));
    let mut slices: Vec<usize> = (0..SHOWN).map(|i| first + (last - first) * i / (SHOWN - 1)).collect();
    slices.dedup();
    slices
}

fn percentile(pixels: &Array3<u16>, share: f64) -> u16 {
    let mut sorted: Vec<u16> = pixels.iter().copied().collect();
    sorted.sort_unstable();
    sorted.get((sorted.len() as f64 * share) as usize).copied().unwrap_or(u16::MAX)
}

fn blend(grey: f32, organ: u8) -> Rgb<u8> {
    let colour = Organ::ALL.into_iter().find(|o| o.number() == organ).map(|organ| match organ {
        Organ::Liver => [221.0, 130.0, 101.0],
        Organ::RightKidney => [90.0, 200.0, 90.0],
        Organ::LeftKidney => [80.0, 130.0, 240.0],
        Organ::Spleen => [200.0, 100.0, 210.0],
    });
    let mixed =
        colour.map_or([grey; 3], |colour: [f32; 3]| colour.map(|c| grey * (1.0 - OPACITY) + c * OPACITY));
    Rgb(mixed.map(|channel| channel.round() as u8))
}
