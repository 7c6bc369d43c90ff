//! What a SEG says of each of its frames: Segmentation Functional Groups (PS3.3 A.51.5).

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use crate::dataset::{first_item, integer, items, text};
use crate::slice::Geometry;

/// A pixel grid in space.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plane {
    /// ImagePositionPatient: centre of the first pixel, LPS mm.
    pub position: [f64; 3],
    /// ImageOrientationPatient: direction of increasing column index, then of increasing row index.
    pub orientation: [f64; 6],
    /// PixelSpacing: between rows, between columns, mm.
    pub pixel_spacing: [f64; 2],
}

/// An image that a frame was derived from: an item of SourceImageSequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceReference {
    /// ReferencedSOPClassUID, empty where absent.
    pub sop_class_uid: String,
    /// ReferencedSOPInstanceUID.
    pub sop_instance_uid: String,
    /// ReferencedFrameNumber, from 1; empty means all frames of the instance.
    pub frames: Vec<u32>,
}

/// A frame of a SEG.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// ReferencedSegmentNumber; `None` in a LABELMAP, whose frames hold every segment.
    pub segment_number: Option<u16>,
    /// Where the frame lies, if it says so.
    pub plane: Option<Plane>,
    /// The images it was derived from.
    pub sources: Vec<SourceReference>,
    /// Tiled images: row and column, from 1, of the frame's first pixel in the total pixel matrix.
    pub tile: Option<[u32; 2]>,
}

/// Read a frame's functional groups: its own before the shared ones.
pub(crate) fn parse(own: Option<&InMemDicomObject>, shared: Option<&InMemDicomObject>) -> Frame {
    let group = |tag| own.and_then(|item| first_item(item, tag)).or_else(|| first_item(shared?, tag));
    let derivations = own
        .map(|item| items(item, tags::DERIVATION_IMAGE_SEQUENCE))
        .filter(|derivations| !derivations.is_empty())
        .or_else(|| shared.map(|item| items(item, tags::DERIVATION_IMAGE_SEQUENCE)))
        .unwrap_or_default();
    Frame {
        segment_number: group(tags::SEGMENT_IDENTIFICATION_SEQUENCE)
            .and_then(|item| integer(item, tags::REFERENCED_SEGMENT_NUMBER)),
        plane: Geometry::of_groups(own, shared).plane(),
        sources: derivations
            .iter()
            .flat_map(|derivation| items(derivation, tags::SOURCE_IMAGE_SEQUENCE))
            .filter_map(source)
            .collect(),
        tile: group(tags::PLANE_POSITION_SLIDE_SEQUENCE).and_then(|item| {
            let row = integer(item, tags::ROW_POSITION_IN_TOTAL_IMAGE_PIXEL_MATRIX)?;
            let column = integer(item, tags::COLUMN_POSITION_IN_TOTAL_IMAGE_PIXEL_MATRIX)?;
            Some([row, column])
        }),
    }
}

fn source(item: &InMemDicomObject) -> Option<SourceReference> {
    let frames = item
        .get(tags::REFERENCED_FRAME_NUMBER)
        .and_then(|element| element.value().to_multi_int::<u32>().ok())
        .unwrap_or_default();
    Some(SourceReference {
        sop_class_uid: text(item, tags::REFERENCED_SOP_CLASS_UID).unwrap_or_default(),
        sop_instance_uid: text(item, tags::REFERENCED_SOP_INSTANCE_UID)?,
        frames,
    })
}
