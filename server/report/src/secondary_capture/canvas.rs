//! The picture's pixels, and text on them.

use embedded_graphics::Pixel;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::iso_8859_1::{FONT_9X18, FONT_9X18_BOLD};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::prelude::{DrawTarget, Drawable};
use embedded_graphics::text::{Baseline, Text};
use engram_imaging::Raster;

/// Pixels from a letter to the next, and from a line to the next, before they are enlarged.
pub(super) const LETTER: [usize; 2] = [9, 18];

/// RGB pixels, row after row.
pub(super) struct Canvas {
    pub(super) columns: usize,
    pub(super) rows: usize,
    pub(super) pixels: Vec<u8>,
    /// How many pixels a side each dot of letters and boxes has.
    dot: usize,
}

impl Canvas {
    /// A picture with a black strip of so many rows below.
    pub(super) fn of(picture: Raster, strip: usize) -> Self {
        let (columns, rows) = (picture.width() as usize, picture.height() as usize);
        let mut pixels = picture.into_rgb();
        pixels.resize(pixels.len() + columns * strip * 3, 0);
        Self { columns, rows: rows + strip, pixels, dot: dot(columns) }
    }

    /// Writes a line, its top left dot at `[row, column]`. What is no letter of ISO 8859-1 becomes a question mark.
    pub(super) fn write(&mut self, text: &str, [row, column]: [usize; 2], colour: [u8; 3], is_bold: bool) {
        let font: &MonoFont = if is_bold { &FONT_9X18_BOLD } else { &FONT_9X18 };
        let style = MonoTextStyle::new(font, Rgb888::new(colour[0], colour[1], colour[2]));
        let at = Point::new(column as i32, row as i32);
        // A canvas takes every dot: those outside it are left out.
        let Ok(_) = Text::with_baseline(text, at, style, Baseline::Top).draw(self);
    }

    /// Fills a box whose top left dot is at `[row, column]`.
    pub(super) fn fill(&mut self, [row, column]: [usize; 2], [height, width]: [usize; 2], colour: [u8; 3]) {
        for row in row..row + height {
            for column in column..column + width {
                self.put(row, column, colour);
            }
        }
    }

    /// Colours a dot; one outside the canvas is left out.
    fn put(&mut self, row: usize, column: usize, colour: [u8; 3]) {
        for row in row * self.dot..(row + 1) * self.dot {
            for column in (column * self.dot..(column + 1) * self.dot).take_while(|c| *c < self.columns) {
                let start = (row * self.columns + column) * 3;
                if let Some(pixel) = self.pixels.get_mut(start..start + 3) {
                    pixel.copy_from_slice(&colour);
                }
            }
        }
    }
}

/// How many pixels a side a dot of the letters has on a picture so wide.
pub(super) fn dot(columns: usize) -> usize {
    const COLUMNS_A_DOT: usize = 1024;
    (columns / COLUMNS_A_DOT).max(1)
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new((self.columns / self.dot) as u32, (self.rows / self.dot) as u32)
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = core::convert::Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, dots: I) -> Result<(), Self::Error> {
        for Pixel(point, colour) in dots {
            if let (Ok(row), Ok(column)) = (usize::try_from(point.y), usize::try_from(point.x)) {
                self.put(row, column, [colour.r(), colour.g(), colour.b()]);
            }
        }
        Ok(())
    }
}
