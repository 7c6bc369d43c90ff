//! A frame as 8-bit grey or colour.

use super::lut::Lut;
use super::{Modality, Voi, Window};
use crate::error::{BadAttributeSnafu, Error, Result, UnsupportedPhotometricSnafu};
use crate::pixels::{Frame, FrameData, Photometric, with_samples};
use crate::resample::percentiles;
use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, InMemDicomObject};
use image::{DynamicImage, GrayImage, RgbImage};
use ndarray::ArrayView3;
use snafu::OptionExt;

/// What is taken for black and white where the file suggests no window, percentiles of the frame.
const ROBUST_PERCENTILES: [f64; 2] = [0.5, 99.5];

/// The frame, counted from 1, as it is to be shown. `window` stands above the file's own.
pub(super) fn display(
    object: &DefaultDicomObject,
    number: usize,
    frame: &Frame,
    window: Option<Window>,
) -> Result<DynamicImage> {
    let (columns, rows) = (frame.columns as u32, frame.rows as u32);
    let odd = || BadAttributeSnafu { name: "SamplesPerPixel", value: frame.samples_per_pixel.to_string() };
    match &frame.photometric {
        Photometric::Monochrome1 | Photometric::Monochrome2 => {
            let grey = grey(object, number, frame, window);
            Ok(DynamicImage::ImageLuma8(GrayImage::from_raw(columns, rows, grey).with_context(odd)?))
        }
        Photometric::PaletteColor => {
            let pixels = palette(object, frame)?;
            Ok(DynamicImage::ImageRgb8(RgbImage::from_raw(columns, rows, pixels).with_context(odd)?))
        }
        Photometric::Rgb | Photometric::YbrFull => {
            let pixels = eight_bits(&frame.to_rgb());
            Ok(DynamicImage::ImageRgb8(RgbImage::from_raw(columns, rows, pixels).with_context(odd)?))
        }
        Photometric::Other(name) => UnsupportedPhotometricSnafu { photometric: name }.fail(),
    }
}

fn grey(object: &DefaultDicomObject, number: usize, frame: &Frame, window: Option<Window>) -> Vec<u8> {
    let modality = Modality::of_frame(object, number);
    let voi = window
        .map(Voi::Window)
        .or_else(|| Voi::of_frame(object, number))
        .or_else(|| default_window(frame, &modality.apply(&frame.data)).map(Voi::Window));
    let inverted = frame.photometric == Photometric::Monochrome1;
    levels(frame, &modality, |value| {
        let display = voi.as_ref().map_or(0.0, |voi| voi.map(f64::from(value)));
        let display = if inverted { 1.0 - display } else { display };
        (display * 255.0).round() as u8
    })
}

/// What `shade` makes of each pixel's modality value.
pub(super) fn levels<L: Copy>(frame: &Frame, modality: &Modality, shade: impl Fn(f32) -> L) -> Vec<L> {
    let shades = |data: &FrameData| modality.apply(data).into_iter().map(&shade).collect();
    match &frame.data {
        FrameData::U16(samples) => by_table(samples, shades),
        FrameData::I16(samples) => by_table(samples, shades),
        data => shades(data),
    }
}

/// The levels of samples, looked up: a frame has far fewer values than pixels. With it a PNG of 512 by 512 pixels of
/// 12 bits took 3.6 ms, without it 6.5, from request to answer.
fn by_table<T: Copy + Into<i32>, L: Copy>(samples: &[T], shades: impl Fn(&FrameData) -> Vec<L>) -> Vec<L> {
    let values = || samples.iter().map(|sample| (*sample).into());
    let (Some(least), Some(most)) = (values().min(), values().max()) else { return Vec::new() };
    let table = shades(&FrameData::I32((least..=most).collect()));
    values().map(|value| table[(value - least) as usize]).collect()
}

/// Pictures of at most 8 bits are meant as they are; others are shown between robust bounds.
fn default_window(frame: &Frame, values: &[f32]) -> Option<Window> {
    if frame.bits_stored <= 8 {
        return Window::between(0.0, f64::from((1u32 << frame.bits_stored) - 1));
    }
    let values = ArrayView3::from_shape((1, 1, values.len()), values).ok()?;
    let bounds = percentiles(values, &ROBUST_PERCENTILES);
    let (lower, upper) = (f64::from(*bounds.first()?), f64::from(*bounds.last()?));
    Window::between(lower, upper.max(lower + 1.0))
}

/// Colour samples, their most significant 8 bits.
fn eight_bits(frame: &Frame) -> Vec<u8> {
    let scale = 255.0 / ((1u64 << frame.bits_stored.min(32)) - 1) as f64;
    with_samples!(&frame.data, samples => {
        samples.iter().map(|sample| (*sample as f64 * scale).round() as u8).collect()
    })
}

/// Looks indices up in the three palettes.
fn palette(object: &DefaultDicomObject, frame: &Frame) -> Result<Vec<u8>> {
    let palette = Palette::of(object)?;
    Ok(with_samples!(&frame.data, samples => {
        samples.iter().flat_map(|sample| palette.colour(*sample as f64)).collect()
    }))
}

/// Red, green and blue of the Palette Color Lookup Table Module (PS3.3 C.7.9).
pub(super) struct Palette {
    tables: [Lut; 3],
    /// Bits to leave out of an entry for 8 to remain.
    shift: u32,
}

impl Palette {
    pub(super) fn of(object: &InMemDicomObject) -> Result<Self> {
        let table = |descriptor, data, segmented, name| {
            let whole = Lut::read(object, descriptor, data, false);
            let table = whole.or_else(|| Lut::read_segmented(object, descriptor, segmented));
            table.ok_or(Error::MissingAttribute { name })
        };
        let tables = [
            table(
                tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
                tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
                tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
                "RedPaletteColorLookupTableData",
            )?,
            table(
                tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
                tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
                tags::SEGMENTED_GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
                "GreenPaletteColorLookupTableData",
            )?,
            table(
                tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
                tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
                tags::SEGMENTED_BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
                "BluePaletteColorLookupTableData",
            )?,
        ];
        // Some writers claim 16 bits and write entries of 8.
        let is_wide = tables.iter().flat_map(|table| &table.entries).any(|entry| *entry > 255);
        Ok(Palette { tables, shift: if is_wide { 8 } else { 0 } })
    }

    /// The colour of an index.
    fn colour(&self, index: f64) -> [u8; 3] {
        self.tables.each_ref().map(|table| (table.get(index) >> self.shift) as u8)
    }

    /// The colour at a share, 0 to 1, of the way from the first entry to the last.
    pub(super) fn at_share(&self, share: f64) -> [u8; 3] {
        self.tables.each_ref().map(|table| (table.entry_at(share) >> self.shift) as u8)
    }
}
