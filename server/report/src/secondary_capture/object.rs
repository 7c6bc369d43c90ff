//! The picture's data set.

use dicom_core::{PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use engram_seg::put::{Put, clipped, decimal, decimals};
use engram_seg::{Code, Plane, ReferencedSlice, Segment, derived_uid, put_lossy_history, slice_thickness};
use snafu::OptionExt;

use super::canvas::Canvas;
use crate::error::{NoSuchSliceSnafu, Result, TooLargeSnafu};
use crate::identity::{self, Identity, MAKER, VERSION, text};
use crate::{Rendition, SegmentedSeries};

const SERIES_NUMBER: i32 = 9001;
/// Longest text of an ST value.
const LONGEST_TEXT: usize = 1024;

/// The file of a slice's picture. `image`: the slice's instance.
pub(super) fn write(
    series: &SegmentedSeries,
    image: &InMemDicomObject,
    index: usize,
    scale: usize,
    canvas: Canvas,
) -> Result<Rendition> {
    let slices = series.slices().len();
    let slice = series.slices().get(index).context(NoSuchSliceSnafu { slice: index, slices })?;
    let segmentation = &series.description().sop_instance_uid;
    let purpose = format!("secondary capture/{}/{}", slice.sop_instance_uid, slice.frame);
    let modality = text(&series.source, tags::MODALITY).unwrap_or_else(|| "OT".to_owned());
    let identity = Identity {
        sop_class_uid: uids::SECONDARY_CAPTURE_IMAGE_STORAGE,
        sop_instance_uid: derived_uid(segmentation, &purpose),
        series_instance_uid: derived_uid(segmentation, "secondary capture series"),
        series_number: SERIES_NUMBER,
        series_description: identity::series_description(series.segments()),
        instance_number: index + 1,
        modality: &modality,
    };
    let mut object = InMemDicomObject::new_empty();
    identity::put(series, &identity, &mut object);
    put_equipment(series, &mut object);
    put_image(series, image, slice, &mut object);
    put_references(series, slice, &mut object);
    put_plane(series, image, slice, scale, &mut object);
    put_pixels(canvas, &mut object)?;
    identity::finished(object, identity)
}

/// SC Equipment module (PS3.3 C.8.6.1).
fn put_equipment(series: &SegmentedSeries, object: &mut InMemDicomObject) {
    let (date, time) = identity::content_date_time(series);
    object.put_value(tags::CONVERSION_TYPE, VR::CS, "WSD");
    object.put_value(tags::SECONDARY_CAPTURE_DEVICE_MANUFACTURER, VR::LO, MAKER);
    object.put_value(tags::SECONDARY_CAPTURE_DEVICE_MANUFACTURER_MODEL_NAME, VR::LO, MAKER);
    object.put_value(tags::SECONDARY_CAPTURE_DEVICE_SOFTWARE_VERSIONS, VR::LO, VERSION);
    object.put_value(tags::DATE_OF_SECONDARY_CAPTURE, VR::DA, date);
    object.put_value(tags::TIME_OF_SECONDARY_CAPTURE, VR::TM, time);
}

/// General Image module (PS3.3 C.7.6.1).
fn put_image(
    series: &SegmentedSeries,
    image: &InMemDicomObject,
    slice: &ReferencedSlice,
    object: &mut InMemDicomObject,
) {
    let kind = PrimitiveValue::Strs(["DERIVED", "SECONDARY"].map(str::to_owned).into());
    object.put_value(tags::IMAGE_TYPE, VR::CS, kind);
    object.put_value(tags::BURNED_IN_ANNOTATION, VR::CS, "YES");
    object.put_value(tags::DERIVATION_DESCRIPTION, VR::ST, clipped(&derivation(series), LONGEST_TEXT));
    for tag in [tags::BODY_PART_EXAMINED, tags::LATERALITY] {
        if let Some(element) = series.source.get(tag) {
            object.put(element.clone());
        }
    }
    // Type 2C: which side of paired parts the series shows is the source's to say.
    object.put_empty(tags::LATERALITY, VR::CS);
    match (slice.orientation, image.get(tags::PATIENT_ORIENTATION)) {
        (Some(orientation), _) => {
            let directions = PrimitiveValue::Strs(directions(orientation).into());
            object.put_value(tags::PATIENT_ORIENTATION, VR::CS, directions);
        }
        (None, Some(told)) => {
            object.put(told.clone());
        }
        (None, None) => object.put_empty(tags::PATIENT_ORIENTATION, VR::CS),
    }
    put_lossy_history(image, object);
}

/// What was drawn, and by what it was made.
fn derivation(series: &SegmentedSeries) -> String {
    let told = |segment: &Segment| match (&segment.algorithm_name, &segment.algorithm_version) {
        (Some(name), Some(version)) => format!("{} ({name} {version})", segment.label),
        (Some(name), None) => format!("{} ({name})", segment.label),
        _ => segment.label.clone(),
    };
    let segments: Vec<String> = series.segments().map(told).collect();
    format!("Segments drawn on the image: {}. Not for diagnosis alone.", segments.join(", "))
}

/// PatientOrientation of rows and columns: the direction that each mostly has (PS3.3 C.7.6.1.1.1).
fn directions([ax, ay, az, bx, by, bz]: [f64; 6]) -> [String; 2] {
    const NAMES: [[&str; 2]; 3] = [["L", "R"], ["P", "A"], ["H", "F"]];
    [[ax, ay, az], [bx, by, bz]].map(|direction| {
        let size = |axis: &usize| direction[*axis].abs();
        let main = (0..3).max_by(|a, b| size(a).total_cmp(&size(b))).unwrap_or_default();
        NAMES[main][usize::from(direction[main] < 0.0)].to_owned()
    })
}

/// The slice that the picture is of (PS3.3 C.12.4), and its series (PS3.3 C.12.2).
fn put_references(series: &SegmentedSeries, slice: &ReferencedSlice, object: &mut InMemDicomObject) {
    let instance = || {
        let mut item = InMemDicomObject::new_empty();
        item.put_value(tags::REFERENCED_SOP_CLASS_UID, VR::UI, slice.sop_class_uid.as_str());
        item.put_value(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, slice.sop_instance_uid.as_str());
        item
    };
    let mut source = instance();
    if slice.multi_frame {
        source.put_value(tags::REFERENCED_FRAME_NUMBER, VR::IS, slice.frame.to_string());
    }
    source.put_code(
        tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE,
        &Code::new("121322", "DCM", "Source image for image processing operation"),
    );
    object.put_items(tags::SOURCE_IMAGE_SEQUENCE, vec![source]);
    let mut of_series = InMemDicomObject::new_empty();
    let uid = text(&series.source, tags::SERIES_INSTANCE_UID).unwrap_or_default();
    of_series.put_value(tags::SERIES_INSTANCE_UID, VR::UI, uid);
    of_series.put_items(tags::REFERENCED_INSTANCE_SEQUENCE, vec![instance()]);
    object.put_items(tags::REFERENCED_SERIES_SEQUENCE, vec![of_series]);
}

/// Where the picture lies, so that viewers scroll it along with its source: Frame of Reference and Image Plane attributes
/// (PS3.3 C.7.4.1, C.7.6.2), which the IOD lists for no module of its own and allows as an extension (PS3.4 B.3).
fn put_plane(
    series: &SegmentedSeries,
    image: &InMemDicomObject,
    slice: &ReferencedSlice,
    scale: usize,
    object: &mut InMemDicomObject,
) {
    if let Some(spacing) = slice.pixel_spacing {
        let enlarged = spacing.map(|spacing| spacing / scale as f64);
        object.put_value(tags::PIXEL_SPACING, VR::DS, decimals(&enlarged));
    }
    let (Some(plane), Some(frame_of_reference)) = (slice.plane(), &slice.frame_of_reference_uid) else {
        return;
    };
    object.put_value(tags::FRAME_OF_REFERENCE_UID, VR::UI, frame_of_reference.as_str());
    let indicator = text(&series.source, tags::POSITION_REFERENCE_INDICATOR).unwrap_or_default();
    object.put_value(tags::POSITION_REFERENCE_INDICATOR, VR::LO, indicator);
    object.put_value(tags::IMAGE_POSITION_PATIENT, VR::DS, decimals(&first_pixel(&plane, scale)));
    object.put_value(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, decimals(&plane.orientation));
    if let Some(thickness) = slice_thickness(&series.source) {
        object.put_value(tags::SLICE_THICKNESS, VR::DS, decimal(thickness));
    }
    if let Some(location) = image.get(tags::SLICE_LOCATION) {
        object.put(location.clone());
    }
}

/// Centre of the first pixel after each was made `scale` by `scale`, LPS mm.
fn first_pixel(plane: &Plane, scale: usize) -> [f64; 3] {
    let shift = (1.0 / scale as f64 - 1.0) / 2.0;
    let [between_rows, between_columns] = plane.pixel_spacing;
    std::array::from_fn(|axis| {
        let along_row = plane.orientation[axis] * between_columns;
        let along_column = plane.orientation[axis + 3] * between_rows;
        plane.position[axis] + shift * (along_row + along_column)
    })
}

/// Image Pixel module (PS3.3 C.7.6.3).
fn put_pixels(canvas: Canvas, object: &mut InMemDicomObject) -> Result<()> {
    let Canvas { columns, rows, mut pixels, .. } = canvas;
    let side = |side: usize| {
        let limit = u64::from(u16::MAX);
        u16::try_from(side).ok().context(TooLargeSnafu { bytes: side as u64, limit })
    };
    object.put_value(tags::ROWS, VR::US, side(rows)?);
    object.put_value(tags::COLUMNS, VR::US, side(columns)?);
    object.put_value(tags::SAMPLES_PER_PIXEL, VR::US, 3u16);
    object.put_value(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB");
    object.put_value(tags::PLANAR_CONFIGURATION, VR::US, 0u16);
    object.put_value(tags::BITS_ALLOCATED, VR::US, 8u16);
    object.put_value(tags::BITS_STORED, VR::US, 8u16);
    object.put_value(tags::HIGH_BIT, VR::US, 7u16);
    object.put_value(tags::PIXEL_REPRESENTATION, VR::US, 0u16);
    if !pixels.len().is_multiple_of(2) {
        pixels.push(0);
    }
    object.put_value(tags::PIXEL_DATA, VR::OB, PrimitiveValue::from(pixels));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_named_after_their_largest_part() {
        for (orientation, expected) in [
            ([1.0, 0.0, 0.0, 0.0, 1.0, 0.0], ["L", "P"]),
            ([0.0, 1.0, 0.0, 0.0, 0.0, -1.0], ["P", "F"]),
            ([-0.8, 0.6, 0.0, 0.1, 0.1, 0.99], ["R", "H"]),
        ] {
            assert_eq!(directions(orientation), expected);
        }
    }

    #[test]
    fn enlarged_pictures_cover_what_the_slice_covers() {
        let plane = Plane {
            position: [10.0, 20.0, 5.0],
            orientation: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            pixel_spacing: [2.0, 1.0],
        };
        assert_eq!(first_pixel(&plane, 1), [10.0, 20.0, 5.0]);
        // The corner of the first pixel is half a pixel before its centre, whatever its size.
        assert_eq!(first_pixel(&plane, 4), [10.0 - 0.375, 20.0 - 0.75, 5.0]);
    }
}
