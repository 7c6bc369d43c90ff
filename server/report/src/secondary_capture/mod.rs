//! A slice with its segments drawn in, as a Secondary Capture Image (PS3.3 A.8.1).
//!
//! One single-frame image a slice, rather than one multi-frame image: every PACS shows it, a viewer can link its
//! position with the source's, and neither side holds more than a slice.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part03.html#sect_A.8.1>

mod canvas;
mod legend;
mod object;
mod outline;

use dicom_object::DefaultDicomObject;
use engram_imaging::{DecodeLimits, Raster, RenderOptions};
use engram_seg::{ReferencedSlice, Segment};
use snafu::{OptionExt, ResultExt, ensure};

use self::canvas::Canvas;
use self::legend::{Entry, Legend};
use crate::error::{NoSuchSliceSnafu, PictureSnafu, Result, TooLargeSnafu};
use crate::{MeasuredSegment, Region, Rendition, SegmentedSeries};

/// Smaller slices are enlarged by a whole factor until their shorter side has so many pixels, so that the outlines
/// are thinner than what they surround and the legend can be read,
const LEAST_SIDE: usize = 512;
/// but not beyond so many on the longer side.
const LARGEST_ENLARGED_SIDE: usize = 2048;
/// Bytes that are held of a pixel: its colour, whether a segment is there, and the outline.
const BYTES_A_PIXEL: usize = 8;
/// How much of a segment's colour is seen within its outline.
const FILL: f32 = 0.2;

/// Makes the picture of a slice (index from 0). `object`: the slice's instance with its pixels, which are shown as
/// WADO-RS renders them; `measured`: what [`measured_segments`](crate::measured_segments) answers for the series.
///
/// The picture is the slice, enlarged by a whole factor where it is small, with each segment's outline and a light fill
/// in its colour; below it a strip with names, volumes and what made it. Position, orientation and spacing are those of
/// the slice.
///
/// # Errors
/// Those of [`SegmentedSeries::regions`]; [`Error::Picture`](crate::Error::Picture) where the pixels cannot be shown,
/// or the picture exceeds `limits`; the file cannot be encoded.
pub fn secondary_capture(
    series: &SegmentedSeries,
    measured: &[MeasuredSegment],
    slice: usize,
    object: &DefaultDicomObject,
    limits: DecodeLimits,
) -> Result<Rendition> {
    let slices = series.slices().len();
    let shown = series.slices().get(slice).context(NoSuchSliceSnafu { slice, slices })?;
    let scale = enlargement(shown);
    check_limit(shown, scale, limits)?;
    let regions = series.regions(slice)?;
    let picture = drawn(object, shown, scale, &colours(series), &regions, limits);
    let picture = picture.context(PictureSnafu { slice })?;
    let legend = Legend::new(entries(series, measured, shown, &regions), series, picture.width());
    let canvas = Canvas::of(picture, legend.height());
    let canvas = legend.draw(canvas);
    object::write(series, object, slice, scale, canvas)
}

fn enlargement(slice: &ReferencedSlice) -> usize {
    let (shorter, longer) = (slice.rows.min(slice.columns).max(1), slice.rows.max(slice.columns).max(1));
    LEAST_SIDE.div_ceil(shorter).min(LARGEST_ENLARGED_SIDE / longer).max(1)
}

/// Whether the picture, and what is drawn on it, may be held.
fn check_limit(slice: &ReferencedSlice, scale: usize, limits: DecodeLimits) -> Result<()> {
    let pixels = [slice.rows, slice.columns, scale, scale].into_iter().fold(1, usize::saturating_mul);
    let bytes = pixels.saturating_mul(BYTES_A_PIXEL) as u64;
    let limit = limits.max_frame_bytes;
    ensure!(bytes <= limit, TooLargeSnafu { bytes, limit });
    Ok(())
}

fn colours(series: &SegmentedSeries) -> Vec<[u8; 3]> {
    series.segments().map(Segment::colour).collect()
}

/// The slice with fills and outlines.
fn drawn(
    object: &DefaultDicomObject,
    slice: &ReferencedSlice,
    scale: usize,
    colours: &[[u8; 3]],
    regions: &[Region],
    limits: DecodeLimits,
) -> engram_imaging::Result<Raster> {
    let size = [slice.columns, slice.rows].map(|side| u32::try_from(side * scale).unwrap_or(u32::MAX));
    let options = RenderOptions { viewport: Some((size[0], size[1])), ..RenderOptions::default() };
    let mut picture =
        Raster::of_frame(object, slice.frame as usize, None, limits)?.viewed(&options, limits)?;
    let mut outlines = vec![None; slice.rows * slice.columns * scale * scale];
    for region in regions {
        let colour = colours.get(region.segment).copied().unwrap_or_default();
        let mask = outline::enlarged(&region.pixels, slice.columns, scale);
        let fill = mask.iter().map(|is_in| is_in.then_some((colour, FILL)));
        picture = picture.overlaid(fill);
        outline::draw(&mask, slice.columns * scale, outline::thickness(scale), colour, &mut outlines);
    }
    Ok(picture.overlaid(outlines.into_iter().map(|colour| colour.map(|colour| (colour, 1.0)))))
}

/// What the legend says of each segment on a slice.
fn entries(
    series: &SegmentedSeries,
    measured: &[MeasuredSegment],
    slice: &ReferencedSlice,
    regions: &[Region],
) -> Vec<Entry> {
    let of_segment = |(index, segment): (usize, &Segment)| Entry {
        colour: segment.colour(),
        name: segment.label.clone(),
        millilitres: measured.get(index).and_then(|measured| measured.millilitres),
        is_on_slice: regions.iter().any(|region| region.segment == index),
        is_for_review: is_for_review(segment, slice),
    };
    series.segments().enumerate().map(of_segment).collect()
}

/// Whether a person should look at the segment on this slice first.
fn is_for_review(segment: &Segment, slice: &ReferencedSlice) -> bool {
    segment.provenance.iter().flat_map(|provenance| &provenance.review).any(|flagged| {
        (flagged.sop_instance_uid.as_str(), flagged.frame) == (slice.sop_instance_uid.as_str(), slice.frame)
    })
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::tags;
    use ndarray::Array3;

    use super::*;
    use crate::testing::{GREY, image_file, segmented, slices_at};
    use crate::{Error, measured_segments};

    #[test]
    fn a_picture_shows_its_slice_and_its_segments() {
        let slices = slices_at(&[0.0, 2.0]);
        let labels =
            Array3::from_shape_fn((2, 2, 4), |(slice, _, column)| u16::from(slice == 1 && column < 2));
        let series = segmented(&labels, 1, &slices);
        let measured = measured_segments(&series).unwrap();
        let make = |slice: usize| {
            let object = image_file(&slices[slice.min(1)]);
            secondary_capture(&series, &measured, slice, &object, DecodeLimits::default())
        };
        let made = make(1).unwrap();
        assert_eq!(made, make(1).unwrap());
        let object = dicom_object::from_reader(made.part10.as_slice()).unwrap();
        let side = |tag| object.element(tag).unwrap().to_int::<usize>().unwrap();
        // 2 x 4 pixels, enlarged 256 times, and a strip below.
        assert_eq!(side(tags::COLUMNS), 1024);
        assert!(side(tags::ROWS) > 512 && side(tags::ROWS) < 650);
        let pixels = object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap().into_owned();
        let pixel = |row: usize, column: usize| &pixels[(row * 1024 + column) * 3..][..3];
        let colour = series.segments().next().unwrap().colour();
        assert_eq!(pixel(0, 0), colour);
        assert_eq!(pixel(511, 511), colour);
        assert_eq!(pixel(100, 512), [GREY; 3]);
        let filled =
            colour.map(|part| (f32::from(GREY) * (1.0 - FILL) + f32::from(part) * FILL).round() as u8);
        assert_eq!(pixel(100, 100), filled);
        assert!(matches!(make(2), Err(Error::NoSuchSlice { slice: 2, slices: 2 })));
        let small = DecodeLimits { max_frame_bytes: 1 << 20 };
        let refused = secondary_capture(&series, &measured, 1, &image_file(&slices[1]), small);
        assert!(matches!(refused, Err(Error::TooLarge { .. })));
    }

    #[test]
    fn small_slices_are_enlarged_within_bounds() {
        let slice = |rows, columns| ReferencedSlice { rows, columns, ..slices_at(&[0.0]).remove(0) };
        for (rows, columns, expected) in [
            (512, 512, 1),
            (256, 256, 2),
            (320, 320, 2),
            (64, 64, 8),
            (100, 1000, 2),
            (4000, 3000, 1),
            (1, 9000, 1),
        ] {
            assert_eq!(enlargement(&slice(rows, columns)), expected, "{rows} x {columns}");
        }
    }
}
