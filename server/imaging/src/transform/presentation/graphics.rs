//! Graphics and text above the image (PS3.3 C.10.5).

use super::area::Area;
use super::layers::{Layers, cielab};
use super::reference::{Place, items};
use super::text;
use crate::attributes::{first_item, float, floats, text as word};
use crate::error::Result;
use crate::pixels::DecodeLimits;
use crate::transform::raster::ensure_within;
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use tiny_skia::{FillRule, Paint, Path, PathBuilder, Pixmap, Point, Stroke, Transform};

/// Radius of the dot that marks a point, in pixels.
const POINT: f32 = 2.0;
/// The thickest line, in pixels.
const THICKEST: f32 = 256.0;
/// Places further out, in pixels, are drawn by nobody: the rasterizer counts in 16 bits.
const FARTHEST: f32 = 16384.0 + THICKEST;
/// What a pixel of the sheet takes.
const SHEET_BYTES: u8 = 4;

/// Where something is drawn, and in which colour.
pub(super) struct Sheet {
    pub(super) pixels: Pixmap,
    /// From places in the image to places on the sheet.
    of_image: Transform,
}

/// What was drawn: 8 bits of red, green, blue and opacity a pixel.
pub(super) struct Drawing {
    rgba: Vec<u8>,
}

/// Draws what the state has for a frame, the area of which is shown in that width and height. `None` where it has nothing.
///
/// # Errors
/// A size above the limit.
pub(super) fn draw(
    state: &InMemDicomObject,
    place: &Place,
    layers: &Layers,
    area: &Area,
    [width, height]: [u32; 2],
    limits: DecodeLimits,
) -> Result<Option<Drawing>> {
    let layer = |item: &InMemDicomObject| word(item, tags::GRAPHIC_LAYER).unwrap_or_default();
    let mut annotations: Vec<_> = place.items(state, tags::GRAPHIC_ANNOTATION_SEQUENCE).collect();
    if annotations.is_empty() {
        return Ok(None);
    }
    annotations.sort_by_key(|item| layers.order(&layer(item)));
    ensure_within(width, height, SHEET_BYTES, limits)?;
    let Some(pixels) = Pixmap::new(width, height) else { return Ok(None) };
    let mut sheet = Sheet { pixels, of_image: area.transform() };
    for annotation in annotations {
        let colour = layers.colour(&layer(annotation));
        for object in items(annotation, tags::GRAPHIC_OBJECT_SEQUENCE) {
            sheet.graphic(object, colour);
        }
        for object in items(annotation, tags::TEXT_OBJECT_SEQUENCE) {
            text::write(&mut sheet, object, colour);
        }
    }
    Ok(Some(Drawing { rgba: sheet.pixels.take_demultiplied() }))
}

impl Drawing {
    /// Pixel by pixel, row after row: a colour and its opacity, where there is any.
    pub(super) fn layer(&self) -> impl Iterator<Item = Option<([u8; 3], f32)>> {
        self.rgba.as_chunks::<4>().0.iter().map(|[red, green, blue, opacity]| {
            (*opacity > 0).then(|| ([*red, *green, *blue], f32::from(*opacity) / 255.0))
        })
    }
}

impl Sheet {
    /// From places in units that `units` names to places on the sheet: of the image's pixels, or shares of what is shown.
    pub(super) fn transform(&self, item: &InMemDicomObject, units: Tag) -> Transform {
        match word(item, units).as_deref() {
            Some("DISPLAY") => Transform::from_scale(self.pixels.width() as f32, self.pixels.height() as f32),
            _ => self.of_image,
        }
    }

    fn graphic(&mut self, object: &InMemDicomObject, colour: [u8; 3]) {
        let kind = word(object, tags::GRAPHIC_TYPE).unwrap_or_default();
        let points = points(object, tags::GRAPHIC_DATA);
        let transform = self.transform(object, tags::GRAPHIC_ANNOTATION_UNITS);
        let Some(path) = path(&kind, &points, transform) else { return };
        let line = first_item(object, tags::LINE_STYLE_SEQUENCE);
        let of_line = line.and_then(|line| cielab(line, tags::PATTERN_ON_COLOR_CIE_LAB_VALUE));
        let width = line.and_then(|line| float(line, tags::LINE_THICKNESS)).map_or(1.0, |width| width as f32);
        if kind == "POINT" || word(object, tags::GRAPHIC_FILLED).as_deref() == Some("Y") {
            self.fill(&path, colour);
        }
        self.stroke(&path, of_line.unwrap_or(colour), width);
    }

    fn fill(&mut self, path: &Path, colour: [u8; 3]) {
        self.pixels.fill_path(path, &paint(colour), FillRule::EvenOdd, Transform::identity(), None);
    }

    /// Draws along a path of the sheet.
    pub(super) fn stroke(&mut self, path: &Path, colour: [u8; 3], width: f32) {
        let stroke = Stroke { width: width.clamp(1.0, THICKEST), ..Stroke::default() };
        self.pixels.stroke_path(path, &paint(colour), &stroke, Transform::identity(), None);
    }
}

fn paint([red, green, blue]: [u8; 3]) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color_rgba8(red, green, blue, 255);
    paint
}

/// Pairs of column and row.
pub(super) fn points(item: &InMemDicomObject, tag: Tag) -> Vec<Point> {
    let numbers = floats(item, tag).unwrap_or_default();
    numbers.as_chunks::<2>().0.iter().map(|[x, y]| Point::from_xy(*x as f32, *y as f32)).collect()
}

/// The outline of a graphic on the sheet; `None` for one that is none, or is of a type that is not known.
fn path(kind: &str, points: &[Point], transform: Transform) -> Option<Path> {
    let path = match (kind, points) {
        ("POINT", [point, ..]) => {
            let mut on_sheet = *point;
            transform.map_point(&mut on_sheet);
            return PathBuilder::from_circle(on_sheet.x, on_sheet.y, POINT).filter(is_near);
        }
        ("POLYLINE", points) => polyline(points),
        ("INTERPOLATED", points) => curve(points),
        ("CIRCLE", [centre, rim, ..]) => PathBuilder::from_circle(centre.x, centre.y, centre.distance(*rim)),
        ("ELLIPSE", [one, other, side, other_side, ..]) => ellipse([*one, *other], [*side, *other_side]),
        _ => None,
    };
    path?.transform(transform).filter(is_near)
}

/// Whether all of a path lies where it can be drawn.
pub(super) fn is_near(path: &Path) -> bool {
    let bounds = path.bounds();
    [bounds.left(), bounds.top(), bounds.right(), bounds.bottom()].iter().all(|place| place.abs() <= FARTHEST)
}

/// Lines from point to point.
pub(super) fn polyline(points: &[Point]) -> Option<Path> {
    let mut path = PathBuilder::new();
    let (first, others) = points.split_first()?;
    path.move_to(first.x, first.y);
    others.iter().for_each(|point| path.line_to(point.x, point.y));
    if points.len() > 2 && points.last() == Some(first) {
        path.close();
    }
    path.finish()
}

/// A smooth line through points: cubic pieces whose direction at a point is that from the one before it to the one after.
fn curve(points: &[Point]) -> Option<Path> {
    let (first, last) = (points.first()?, points.last()?);
    let is_closed = points.len() > 2 && first == last;
    let mut path = PathBuilder::new();
    path.move_to(first.x, first.y);
    for (index, piece) in points.windows(2).enumerate() {
        let [from, to] = piece else { continue };
        let beyond = |ring: Option<&Point>, end: &Point| *ring.filter(|_| is_closed).unwrap_or(end);
        let before = index.checked_sub(1).and_then(|index| points.get(index)).copied();
        let before = before.unwrap_or_else(|| beyond(points.iter().nth_back(1), from));
        let after = points.get(index + 2).copied().unwrap_or_else(|| beyond(points.get(1), to));
        let third = |from: Point, to: Point| ((to.x - from.x) / 6.0, (to.y - from.y) / 6.0);
        let (leaving, arriving) = (third(before, *to), third(*from, after));
        path.cubic_to(
            from.x + leaving.0,
            from.y + leaving.1,
            to.x - arriving.0,
            to.y - arriving.1,
            to.x,
            to.y,
        );
    }
    path.finish()
}

/// An ellipse by the ends of its axes.
fn ellipse(major: [Point; 2], minor: [Point; 2]) -> Option<Path> {
    let half = |[one, other]: [Point; 2]| ((other.x - one.x) / 2.0, (other.y - one.y) / 2.0);
    let (along, across) = (half(major), half(minor));
    let [one, other] = major;
    let place = Transform::from_row(
        along.0,
        along.1,
        across.0,
        across.1,
        (one.x + other.x) / 2.0,
        (one.y + other.y) / 2.0,
    );
    PathBuilder::from_circle(0.0, 0.0, 1.0)?.transform(place)
}
