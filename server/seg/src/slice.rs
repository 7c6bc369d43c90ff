//! A source slice that masks are placed on or written for.

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use engram_imaging::Volume;

use crate::dataset::{first_item, integer, items, numbers, text};
use crate::error::{MissingAttributeSnafu, TooLargeSnafu};
use crate::{Plane, Result};

/// Frames of one instance that [`ReferencedSlice::of_instance`] lists at most.
const MAX_FRAMES: usize = 100_000;

/// One frame of a source image: what a SEG's frames refer to, and where it lies.
#[derive(Debug, Clone, PartialEq)]
pub struct ReferencedSlice {
    /// SOPClassUID of the instance.
    pub sop_class_uid: String,
    /// SOPInstanceUID of the instance.
    pub sop_instance_uid: String,
    /// Frame number in the instance, from 1; 1 for a single-frame instance.
    pub frame: u32,
    /// Whether the instance has several frames, so that a reference must say which.
    pub multi_frame: bool,
    /// FrameOfReferenceUID, where the image has one.
    pub frame_of_reference_uid: Option<String>,
    /// ImagePositionPatient: centre of the first pixel, LPS mm.
    pub position: Option<[f64; 3]>,
    /// ImageOrientationPatient: direction of increasing column index, then of increasing row index.
    pub orientation: Option<[f64; 6]>,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// PixelSpacing: between rows, between columns, mm.
    pub pixel_spacing: Option<[f64; 2]>,
}

impl ReferencedSlice {
    /// The slices of a volume, in its order. Nominal positions (a volume that is not spatial) are left out.
    pub fn of_volume(volume: &Volume) -> Vec<Self> {
        let geometry = &volume.geometry;
        volume
            .sources
            .iter()
            .enumerate()
            .map(|(index, source)| Self {
                sop_class_uid: source.sop_class_uid.clone(),
                sop_instance_uid: source.sop_instance_uid.clone(),
                frame: source.frame,
                multi_frame: source.frames > 1,
                frame_of_reference_uid: volume.frame_of_reference_uid.clone(),
                position: geometry.positions.get(index).copied().filter(|_| geometry.spatial),
                orientation: geometry.spatial.then_some(geometry.orientation),
                rows: geometry.rows,
                columns: geometry.columns,
                pixel_spacing: Some(geometry.pixel_spacing),
            })
            .collect()
    }

    /// The frames of an image instance, in frame order, with their geometry from the image plane attributes or the
    /// functional groups (PS3.3 C.7.6.2, C.7.6.16.2).
    ///
    /// # Errors
    /// [`Error::MissingAttribute`](crate::Error::MissingAttribute) where identity or size are absent,
    /// [`Error::TooLarge`](crate::Error::TooLarge) for more than 100,000 frames.
    pub fn of_instance(object: &InMemDicomObject) -> Result<Vec<Self>> {
        let missing = |attribute| MissingAttributeSnafu { attribute, within: "the source image" }.build();
        let sop_class_uid = text(object, tags::SOP_CLASS_UID).ok_or_else(|| missing("SOPClassUID"))?;
        let sop_instance_uid =
            text(object, tags::SOP_INSTANCE_UID).ok_or_else(|| missing("SOPInstanceUID"))?;
        let rows = integer::<u16>(object, tags::ROWS).ok_or_else(|| missing("Rows"))?;
        let columns = integer::<u16>(object, tags::COLUMNS).ok_or_else(|| missing("Columns"))?;
        let frames: usize = integer::<u32>(object, tags::NUMBER_OF_FRAMES).unwrap_or(1).max(1) as usize;
        if frames > MAX_FRAMES {
            return TooLargeSnafu { bytes: frames as u64, limit: MAX_FRAMES as u64 }.fail();
        }
        let shared = first_item(object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE);
        let per_frame = items(object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE);
        let frame_of_reference_uid = text(object, tags::FRAME_OF_REFERENCE_UID);
        let slice = |index: usize| {
            let plane = match shared.is_some() || !per_frame.is_empty() {
                true => Geometry::of_groups(per_frame.get(index), shared),
                false => Geometry::of_image(object),
            };
            Self {
                sop_class_uid: sop_class_uid.clone(),
                sop_instance_uid: sop_instance_uid.clone(),
                frame: index as u32 + 1,
                multi_frame: frames > 1,
                frame_of_reference_uid: frame_of_reference_uid.clone(),
                position: plane.position,
                orientation: plane.orientation,
                rows: rows.into(),
                columns: columns.into(),
                pixel_spacing: plane.pixel_spacing,
            }
        };
        Ok((0..frames).map(slice).collect())
    }

    /// The slice's plane, where position, orientation and spacing are all known.
    pub fn plane(&self) -> Option<Plane> {
        Some(Plane {
            position: self.position?,
            orientation: self.orientation?,
            pixel_spacing: self.pixel_spacing?,
        })
    }
}

/// What a dataset says of a frame's place, each part optional.
pub(crate) struct Geometry {
    pub position: Option<[f64; 3]>,
    pub orientation: Option<[f64; 6]>,
    pub pixel_spacing: Option<[f64; 2]>,
}

impl Geometry {
    fn of_image(object: &InMemDicomObject) -> Self {
        Self {
            position: numbers(object, tags::IMAGE_POSITION_PATIENT),
            orientation: numbers(object, tags::IMAGE_ORIENTATION_PATIENT),
            pixel_spacing: numbers(object, tags::PIXEL_SPACING),
        }
    }

    /// From the functional groups: the frame's own before the shared ones.
    pub(crate) fn of_groups(frame: Option<&InMemDicomObject>, shared: Option<&InMemDicomObject>) -> Self {
        let group = |tag| frame.and_then(|item| first_item(item, tag)).or_else(|| first_item(shared?, tag));
        Self {
            position: group(tags::PLANE_POSITION_SEQUENCE)
                .and_then(|item| numbers(item, tags::IMAGE_POSITION_PATIENT)),
            orientation: group(tags::PLANE_ORIENTATION_SEQUENCE)
                .and_then(|item| numbers(item, tags::IMAGE_ORIENTATION_PATIENT)),
            pixel_spacing: group(tags::PIXEL_MEASURES_SEQUENCE)
                .and_then(|item| numbers(item, tags::PIXEL_SPACING)),
        }
    }

    pub(crate) fn plane(&self) -> Option<Plane> {
        Some(Plane {
            position: self.position?,
            orientation: self.orientation?,
            pixel_spacing: self.pixel_spacing?,
        })
    }
}
