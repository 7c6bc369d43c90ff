//! Text above the image: at its box, or beside its anchor.

use super::graphics::{Sheet, is_near, points, polyline};
use crate::attributes::text;
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use embedded_graphics::Pixel;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::mono_font::iso_8859_1::FONT_9X18;
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::prelude::{DrawTarget, Drawable};
use embedded_graphics::text::{Baseline, Text};
use tiny_skia::{Point as Place, PremultipliedColorU8};

/// Pixels between an anchor and the text beside it.
const GAP: f32 = 4.0;
/// The most letters of UnformattedTextValue, as its VR has it (PS3.5 section 6.2).
const LETTERS: usize = 1024;
/// Places further out are nowhere near a sheet, in pixels.
const FAR: f32 = 1e6;

/// Writes a text object. What is no letter of ISO 8859-1 becomes a question mark.
pub(super) fn write(sheet: &mut Sheet, object: &InMemDicomObject, colour: [u8; 3]) {
    let Some(words) = text(object, tags::UNFORMATTED_TEXT_VALUE) else { return };
    let place = |tag: Tag, units: Tag| {
        let mut point = *points(object, tag).first()?;
        sheet.transform(object, units).map_point(&mut point);
        Some(point)
    };
    let corners = [tags::BOUNDING_BOX_TOP_LEFT_HAND_CORNER, tags::BOUNDING_BOX_BOTTOM_RIGHT_HAND_CORNER]
        .map(|tag| place(tag, tags::BOUNDING_BOX_ANNOTATION_UNITS));
    let anchor = place(tags::ANCHOR_POINT, tags::ANCHOR_POINT_ANNOTATION_UNITS);
    let corner = match corners {
        // Turned, the corners of the box change places.
        [Some(one), Some(other)] => Some(Place::from_xy(one.x.min(other.x), one.y.min(other.y))),
        [one, _] => one,
    };
    let beside = || anchor.map(|anchor| Place::from_xy(anchor.x + GAP, anchor.y + GAP));
    let Some(corner) = corner.or_else(beside) else { return };
    let is_visible = text(object, tags::ANCHOR_POINT_VISIBILITY).as_deref() == Some("Y");
    let line = anchor.filter(|_| is_visible).and_then(|anchor| polyline(&[anchor, corner]));
    if let Some(line) = line.filter(is_near) {
        sheet.stroke(&line, colour, 1.0);
    }
    let style = MonoTextStyle::new(&FONT_9X18, Rgb888::new(colour[0], colour[1], colour[2]));
    let lines: String = words.replace("\r\n", "\n").chars().take(LETTERS).collect();
    let [x, y] = [corner.x, corner.y].map(|place| place.clamp(-FAR, FAR).round() as i32);
    let at = Point::new(x, y);
    // A sheet takes every dot: those outside it are left out.
    let Ok(_) = Text::with_baseline(&lines, at, style, Baseline::Top).draw(sheet);
}

impl OriginDimensions for Sheet {
    fn size(&self) -> Size {
        Size::new(self.pixels.width(), self.pixels.height())
    }
}

impl DrawTarget for Sheet {
    type Color = Rgb888;
    type Error = core::convert::Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, dots: I) -> Result<(), Self::Error> {
        let [width, height] = [self.pixels.width(), self.pixels.height()].map(|side| side as usize);
        for Pixel(point, colour) in dots {
            let (Ok(column), Ok(row)) = (usize::try_from(point.x), usize::try_from(point.y)) else {
                continue;
            };
            let dot = PremultipliedColorU8::from_rgba(colour.r(), colour.g(), colour.b(), 255);
            let is_there = column < width && row < height;
            if let (true, Some(pixel), Some(dot)) =
                (is_there, self.pixels.pixels_mut().get_mut(row * width + column), dot)
            {
                *pixel = dot;
            }
        }
        Ok(())
    }
}
