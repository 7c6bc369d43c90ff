//! The part of the image that is shown, its proportions, and how it is turned (PS3.3 C.10.4 and C.10.6).

use super::reference::Place;
use crate::attributes::{float, float_array, integer, text};
use crate::error::Result;
use crate::pixels::DecodeLimits;
use crate::transform::Raster;
use crate::transform::raster::ensure_within;
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayImage, RgbImage};
use tiny_skia::Transform;

/// Proportions closer to a square than this are a square's.
const SQUARE: f64 = 1e-3;

/// What is shown of an image of some size, and how.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Area {
    /// Column and row of its first pixel, the image's first being 0 and 0. May lie outside the image.
    first: [i64; 2],
    /// Columns and rows.
    size: [u32; 2],
    /// Pixels of what is shown for each column and row.
    scale: [f64; 2],
    /// Quarter turns, clockwise.
    turns: u8,
    /// Whether left and right change sides after that.
    flipped: bool,
}

impl Area {
    /// What a state shows of an image of that width and height: all of it where it does not say.
    pub(super) fn of(state: &InMemDicomObject, place: &Place, whole: [u32; 2]) -> Self {
        let item = place.item(state, tags::DISPLAYED_AREA_SELECTION_SEQUENCE);
        let corner = |tag| item.and_then(|item| corner(item, tag));
        let top_left = corner(tags::DISPLAYED_AREA_TOP_LEFT_HAND_CORNER);
        let bottom_right = corner(tags::DISPLAYED_AREA_BOTTOM_RIGHT_HAND_CORNER);
        // The corners are those of what is seen: turned, the top left one need not be that of the image.
        let corners = top_left.zip(bottom_right).unwrap_or([[1, 1], whole.map(i64::from)].into());
        let span = |axis: usize| {
            let ends = [corners.0.get(axis), corners.1.get(axis)].map(|end| end.copied().unwrap_or(1));
            let [low, high] = [ends[0].min(ends[1]), ends[0].max(ends[1])];
            (low - 1, u32::try_from(high - low + 1).unwrap_or(u32::MAX))
        };
        let [(left, columns), (top, rows)] = [span(0), span(1)];
        let turns = integer(state, tags::IMAGE_ROTATION).unwrap_or(0).rem_euclid(360) / 90;
        Area {
            first: [left, top],
            size: [columns, rows],
            scale: item.map_or([1.0; 2], scale),
            turns: turns as u8,
            flipped: text(state, tags::IMAGE_HORIZONTAL_FLIP).as_deref() == Some("Y"),
        }
    }

    /// The image as the area shows it: black where it reaches beyond.
    pub(super) fn show(&self, raster: Raster, limits: DecodeLimits) -> Result<Raster> {
        let mut image = raster.image;
        if self.first != [0, 0] || self.size != [image.width(), image.height()] {
            ensure_within(self.size[0], self.size[1], image.color().bytes_per_pixel(), limits)?;
            image = self.cut(&image);
        }
        let [width, height] = self.scaled();
        if [width, height] != self.size {
            ensure_within(width, height, image.color().bytes_per_pixel(), limits)?;
            image = image.resize_exact(width, height, FilterType::Triangle);
        }
        let turned = match self.turns {
            1 => image.rotate90(),
            2 => image.rotate180(),
            3 => image.rotate270(),
            _ => image,
        };
        Ok(if self.flipped { turned.fliph() } else { turned }.into())
    }

    fn cut(&self, image: &DynamicImage) -> DynamicImage {
        let [columns, rows] = self.size;
        let [left, top] = self.first.map(|first| -first);
        if let DynamicImage::ImageLuma8(grey) = image {
            let mut canvas = GrayImage::new(columns, rows);
            imageops::replace(&mut canvas, grey, left, top);
            return canvas.into();
        }
        let mut canvas = RgbImage::new(columns, rows);
        imageops::replace(&mut canvas, &image.to_rgb8(), left, top);
        canvas.into()
    }

    /// Width and height before it is turned.
    fn scaled(&self) -> [u32; 2] {
        let side = |side: u32, scale: f64| (f64::from(side) * scale).round().max(1.0) as u32;
        [side(self.size[0], self.scale[0]), side(self.size[1], self.scale[1])]
    }

    /// From places in the image, its corner being 0 and 0, to places in what is shown.
    pub(super) fn transform(&self) -> Transform {
        let [width, height] = self.scaled().map(|side| side as f32);
        let [across, down] = [width / self.size[0] as f32, height / self.size[1] as f32];
        let [left, top] = self.first.map(|first| first as f32);
        let scaled = Transform::from_row(across, 0.0, 0.0, down, -left * across, -top * down);
        let turned = match self.turns {
            1 => Transform::from_row(0.0, 1.0, -1.0, 0.0, height, 0.0),
            2 => Transform::from_row(-1.0, 0.0, 0.0, -1.0, width, height),
            3 => Transform::from_row(0.0, -1.0, 1.0, 0.0, 0.0, width),
            _ => Transform::identity(),
        };
        let seen_width = if self.turns % 2 == 1 { height } else { width };
        let flipped = match self.flipped {
            true => Transform::from_row(-1.0, 0.0, 0.0, 1.0, seen_width, 0.0),
            false => Transform::identity(),
        };
        scaled.post_concat(turned).post_concat(flipped)
    }
}

/// Column and row of a corner, each counted from 1.
fn corner(item: &InMemDicomObject, tag: Tag) -> Option<[i64; 2]> {
    let corner: [i32; 2] = item.get(tag)?.to_multi_int::<i32>().ok()?.try_into().ok()?;
    Some(corner.map(i64::from))
}

/// How many pixels wide and high each of the area's is shown: square ones as they are, others enlarged along their longer side,
/// and all by the magnification that is asked for.
fn scale(item: &InMemDicomObject) -> [f64; 2] {
    let sides = float_array::<2>(item, tags::PRESENTATION_PIXEL_SPACING)
        .or_else(|| float_array::<2>(item, tags::PRESENTATION_PIXEL_ASPECT_RATIO));
    // Height, then width.
    let [height, width] = sides.filter(|sides| sides.iter().all(|side| *side > 0.0)).unwrap_or([1.0; 2]);
    let proportions = match height / width {
        ratio if (ratio - 1.0).abs() < SQUARE => [1.0, 1.0],
        ratio if ratio > 1.0 => [1.0, ratio],
        ratio => [1.0 / ratio, 1.0],
    };
    let is_magnified = text(item, tags::PRESENTATION_SIZE_MODE).as_deref() == Some("MAGNIFY");
    let ratio = float(item, tags::PRESENTATION_PIXEL_MAGNIFICATION_RATIO)
        .filter(|ratio| is_magnified && *ratio > 0.0);
    proportions.map(|side| side * ratio.unwrap_or(1.0))
}
