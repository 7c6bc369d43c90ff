//! Shutters: parts of the image that are not to be seen (PS3.3 C.7.6.11 and C.7.6.15).

use super::graphics::{is_near, polyline};
use super::layers::{cielab, p_value};
use super::overlay::Overlay;
use super::reference::Place;
use crate::attributes::{codes, integer};
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use tiny_skia::{FillRule, Mask, Point, Transform};

/// What covers the image.
pub(super) struct Shutter {
    /// Which pixels are covered, row after row.
    pub(super) closed: Vec<bool>,
    /// By what.
    pub(super) colour: [u8; 3],
}

/// A part of the image that is seen, in rows and columns counted from 1. Edges belong to what is covered by none of the shapes.
enum Opening {
    Rectangle { left: i64, right: i64, upper: i64, lower: i64 },
    Circle { centre: [i64; 2], radius: i64 },
    Polygon(Mask),
}

impl Shutter {
    /// The state's shutter over an image of that width and height.
    pub(super) fn of(state: &InMemDicomObject, place: &Place, size: [usize; 2]) -> Option<Self> {
        let shapes = codes(state, tags::SHUTTER_SHAPE);
        let openings: Vec<Opening> =
            shapes.iter().filter_map(|shape| Opening::of(state, shape, size)).collect();
        let bitmap = shapes.iter().any(|shape| shape == "BITMAP").then(|| {
            let group =
                integer(state, tags::SHUTTER_OVERLAY_GROUP).and_then(|group| u16::try_from(group).ok());
            Some(Overlay::of(state, group?, place)?.cover(size))
        });
        let bitmap = bitmap.flatten();
        if openings.is_empty() && bitmap.is_none() {
            return None;
        }
        let [width, height] = size;
        let pixels = (0..height).flat_map(|row| (0..width).map(move |column| [row + 1, column + 1]));
        let is_closed = |[row, column]: [usize; 2]| {
            !openings.iter().all(|opening| opening.shows(row as i64, column as i64))
        };
        let mut closed: Vec<bool> = pixels.map(is_closed).collect();
        for (closed, bit) in closed.iter_mut().zip(bitmap.into_iter().flatten()) {
            *closed |= bit;
        }
        let colour = cielab(state, tags::SHUTTER_PRESENTATION_COLOR_CIE_LAB_VALUE)
            .or_else(|| p_value(state, tags::SHUTTER_PRESENTATION_VALUE));
        Some(Shutter { closed, colour: colour.unwrap_or([0; 3]) })
    }
}

impl Opening {
    fn of(state: &InMemDicomObject, shape: &str, size: [usize; 2]) -> Option<Self> {
        match shape {
            "RECTANGULAR" => Some(Opening::Rectangle {
                left: integer(state, tags::SHUTTER_LEFT_VERTICAL_EDGE)?,
                right: integer(state, tags::SHUTTER_RIGHT_VERTICAL_EDGE)?,
                upper: integer(state, tags::SHUTTER_UPPER_HORIZONTAL_EDGE)?,
                lower: integer(state, tags::SHUTTER_LOWER_HORIZONTAL_EDGE)?,
            }),
            "CIRCULAR" => Some(Opening::Circle {
                centre: integers(state, tags::CENTER_OF_CIRCULAR_SHUTTER)?.try_into().ok()?,
                radius: integer(state, tags::RADIUS_OF_CIRCULAR_SHUTTER)?,
            }),
            "POLYGONAL" => polygon(&integers(state, tags::VERTICES_OF_THE_POLYGONAL_SHUTTER)?, size)
                .map(Opening::Polygon),
            _ => None,
        }
    }

    fn shows(&self, row: i64, column: i64) -> bool {
        match self {
            Opening::Rectangle { left, right, upper, lower } => {
                (*left..=*right).contains(&column) && (*upper..=*lower).contains(&row)
            }
            Opening::Circle { centre, radius } => {
                let [down, across] = [row.saturating_sub(centre[0]), column.saturating_sub(centre[1])];
                let square = |side: i64| side.saturating_mul(side);
                square(down).saturating_add(square(across)) <= square(*radius)
            }
            Opening::Polygon(mask) => {
                let place = (row - 1) * i64::from(mask.width()) + column - 1;
                usize::try_from(place)
                    .ok()
                    .and_then(|place| mask.data().get(place))
                    .is_some_and(|seen| *seen > 0)
            }
        }
    }
}

fn integers(item: &InMemDicomObject, tag: Tag) -> Option<Vec<i64>> {
    item.get(tag)?.to_multi_int::<i64>().ok()
}

/// What a polygon encloses, by its corners' rows and columns.
fn polygon(corners: &[i64], [width, height]: [usize; 2]) -> Option<Mask> {
    let middles = |[row, column]: &[i64; 2]| Point::from_xy(*column as f32 - 0.5, *row as f32 - 0.5);
    let corners: Vec<Point> = corners.as_chunks::<2>().0.iter().map(middles).collect();
    let path = polyline(&corners).filter(is_near)?;
    let mut mask = Mask::new(u32::try_from(width).ok()?, u32::try_from(height).ok()?)?;
    mask.fill_path(&path, FillRule::EvenOdd, false, Transform::identity());
    Some(mask)
}
