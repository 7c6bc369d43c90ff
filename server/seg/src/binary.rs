//! A LABELMAP as a BINARY SEG of the same segments, for who takes no Label Map Segmentation.

use std::collections::{BTreeSet, HashMap};

use dicom_core::{PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::meta::FileMetaTableBuilder;
use dicom_object::{DefaultDicomObject, InMemDicomObject};
use snafu::ResultExt;

use crate::dataset::{first_item, integer, items};
use crate::describe::{Description, describe};
use crate::error::{MetaSnafu, NotBinarySnafu, TooLargeSnafu};
use crate::pixels::{Pixels, check_limit};
use crate::write::item::Put;
use crate::write::voxels::{even, pack};
use crate::write::{ResultUids, derived_uid, segment_dimension};
use crate::{Limits, Result, SegmentationType};

/// Frames that a result may have: each is described by some thousand bytes.
const MAX_FRAMES: usize = 100_000;

/// What a LABELMAP says of its pixels, and a BINARY SEG must not (PS3.3 C.8.20.2).
const OF_A_LABEL_MAP: [Tag; 12] = [
    tags::PIXEL_DATA,
    tags::PIXEL_PADDING_VALUE,
    tags::PIXEL_PADDING_RANGE_LIMIT,
    tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::PALETTE_COLOR_LOOKUP_TABLE_UID,
    tags::ICC_PROFILE,
    tags::COLOR_SPACE,
];

impl ResultUids {
    /// Identity of the BINARY SEG that [`to_binary`] makes of a LABELMAP: the same for the same LABELMAP.
    pub fn of_binary(label_map: &Description) -> Self {
        Self {
            sop_instance_uid: derived_uid(&label_map.sop_instance_uid, "binary"),
            series_instance_uid: derived_uid(&label_map.series_instance_uid, "binary"),
        }
    }
}

/// Make a BINARY SEG of a LABELMAP: the same segments, on the same images, in Explicit VR Little Endian. Everything
/// that is said of them stays, as do dates and equipment, so that doing it twice makes the same object.
///
/// Segments keep their numbers where these are 1, 2, 3 and so on; where they are not, which a BINARY SEG does not
/// allow (PS3.3 C.8.20.2), they are numbered anew in the order of the old ones. A background that is listed as a
/// segment is left out. There is a frame where a segment has a pixel, segment after segment; and one without a pixel
/// where none has any. Colours that a LABELMAP holds in a palette instead of in its segments are lost.
///
/// # Errors
/// Those of [`describe`] and [`crate::read`]; [`Error::NotBinary`](crate::Error::NotBinary) where it is no LABELMAP, or
/// a tiled one whose tiles are not described; [`Error::TooLarge`](crate::Error::TooLarge) past the limits, and for more
/// than 100,000 frames.
pub fn to_binary(
    object: DefaultDicomObject,
    uids: &ResultUids,
    limits: Limits,
) -> Result<DefaultDicomObject> {
    let description = describe(&object)?;
    if description.segmentation_type != SegmentationType::LabelMap {
        return NotBinarySnafu { reason: "it is no LABELMAP" }.fail();
    }
    if description.frames.len() != description.number_of_frames as usize {
        return NotBinarySnafu { reason: "its tiles have no functional groups of their own" }.fail();
    }
    let pixels = Pixels::read(&object, &description, limits)?;
    let plan = Plan::of(&description, &pixels)?;
    let data = plan.pixel_data(&pixels, limits)?;

    let mut object = object.into_inner();
    for tag in OF_A_LABEL_MAP {
        object.remove_element(tag);
    }
    // Texts are Unicode in memory, whatever they were encoded in.
    object.put_value(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192");
    object.put_value(tags::SOP_CLASS_UID, VR::UI, uids::SEGMENTATION_STORAGE);
    object.put_value(tags::SOP_INSTANCE_UID, VR::UI, uids.sop_instance_uid.as_str());
    object.put_value(tags::SERIES_INSTANCE_UID, VR::UI, uids.series_instance_uid.as_str());
    put_segments(&plan, &mut object);
    put_dimensions(uids, &mut object);
    put_frames(&plan, &mut object);
    put_pixels(&plan, data, &mut object);
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    object.with_meta(meta).map_err(Box::new).context(MetaSnafu)
}

/// What is to be written.
struct Plan {
    /// The old numbers of the segments. Their new ones are 1, 2, 3 and so on.
    segments: Vec<u16>,
    /// The frames in stored order: index of the segment, and of the LABELMAP's frame.
    frames: Vec<(usize, usize)>,
    /// Rows x Columns.
    frame_pixels: usize,
}

impl Plan {
    fn of(description: &Description, pixels: &Pixels) -> Result<Self> {
        let numbers: BTreeSet<u16> = description.foreground().map(|segment| segment.number).collect();
        let segments: Vec<u16> = numbers.into_iter().collect();
        let indices: HashMap<u16, usize> =
            segments.iter().enumerate().map(|(index, number)| (*number, index)).collect();
        let mut frames = Vec::new();
        for frame in 0..description.frames.len() {
            let held = held(pixels, frame);
            frames.extend(held.iter().filter_map(|number| Some((*indices.get(number)?, frame))));
            if frames.len() > MAX_FRAMES {
                return TooLargeSnafu { bytes: frames.len() as u64, limit: MAX_FRAMES as u64 }.fail();
            }
        }
        if segments.is_empty() {
            return NotBinarySnafu { reason: "it has no segment but the background" }.fail();
        }
        if frames.is_empty() {
            frames.push((0, 0));
        }
        frames.sort_unstable();
        let frame_pixels = usize::from(description.rows) * usize::from(description.columns);
        Ok(Self { segments, frames, frame_pixels })
    }

    fn pixel_data(&self, pixels: &Pixels, limits: Limits) -> Result<Vec<u8>> {
        let bits = (self.frames.len() as u64).saturating_mul(self.frame_pixels as u64);
        check_limit(bits.div_ceil(8), limits)?;
        let values = self.frames.iter().flat_map(|(segment, frame)| {
            let number = self.segments[*segment];
            pixels.frame(*frame).into_iter().flatten().map(move |value| u16::from(value == number))
        });
        Ok(even(pack(values)))
    }
}

/// The values of a frame's pixels.
fn held(pixels: &Pixels, frame: usize) -> BTreeSet<u16> {
    let mut held = BTreeSet::new();
    let mut before = None;
    for value in pixels.frame(frame).into_iter().flatten() {
        // Neighbours mostly hold the same.
        if before != Some(value) {
            held.insert(value);
            before = Some(value);
        }
    }
    held
}

fn put_segments(plan: &Plan, object: &mut InMemDicomObject) {
    let segments = items(object, tags::SEGMENT_SEQUENCE).iter();
    let mut kept: Vec<(usize, InMemDicomObject)> = segments
        .filter_map(|item| {
            let number: u16 = integer(item, tags::SEGMENT_NUMBER)?;
            let index = plan.segments.binary_search(&number).ok()?;
            let mut item = item.clone();
            item.put_value(tags::SEGMENT_NUMBER, VR::US, segment_number(index));
            Some((index, item))
        })
        .collect();
    kept.sort_by_key(|(index, _)| *index);
    object.put_items(tags::SEGMENT_SEQUENCE, kept.into_iter().map(|(_, item)| item).collect());
}

fn segment_number(index: usize) -> u16 {
    // There are no more segments than numbers.
    index as u16 + 1
}

/// The segment is the first dimension. With it the dimensions are others, so their organization has a UID of its own.
fn put_dimensions(uids: &ResultUids, object: &mut InMemDicomObject) {
    let uid = derived_uid(&uids.sop_instance_uid, "dimensions");
    let others = items(object, tags::DIMENSION_INDEX_SEQUENCE).iter().map(|item| {
        let mut item = item.clone();
        item.put_value(tags::DIMENSION_ORGANIZATION_UID, VR::UI, uid.as_str());
        item
    });
    let indices = std::iter::once(segment_dimension(&uid)).chain(others).collect();
    let mut organization = InMemDicomObject::new_empty();
    organization.put_value(tags::DIMENSION_ORGANIZATION_UID, VR::UI, uid.as_str());
    object.put_items(tags::DIMENSION_ORGANIZATION_SEQUENCE, vec![organization]);
    object.put_items(tags::DIMENSION_INDEX_SEQUENCE, indices);
    // With frames of several segments at a position they are no regular stack any more (PS3.3 C.7.6.17.3).
    let is_stack = crate::dataset::text(object, tags::DIMENSION_ORGANIZATION_TYPE).as_deref() == Some("3D");
    if is_stack {
        object.remove_element(tags::DIMENSION_ORGANIZATION_TYPE);
    }
}

fn put_frames(plan: &Plan, object: &mut InMemDicomObject) {
    let described = items(object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE);
    let frames = plan.frames.iter().map(|(segment, frame)| {
        let groups = described.get(*frame).cloned().unwrap_or_else(InMemDicomObject::new_empty);
        of_segment(groups, segment_number(*segment))
    });
    let frames = frames.collect();
    object.put_items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frames);
}

/// Functional groups of a frame that holds one segment.
fn of_segment(mut groups: InMemDicomObject, number: u16) -> InMemDicomObject {
    let mut content = first_item(&groups, tags::FRAME_CONTENT_SEQUENCE)
        .cloned()
        .unwrap_or_else(InMemDicomObject::new_empty);
    let others: Vec<u32> = content
        .get(tags::DIMENSION_INDEX_VALUES)
        .and_then(|element| element.value().to_multi_int().ok())
        .unwrap_or_default();
    let indices: Vec<u32> = std::iter::once(u32::from(number)).chain(others).collect();
    content.put_value(tags::DIMENSION_INDEX_VALUES, VR::UL, PrimitiveValue::U32(indices.into()));
    groups.put_items(tags::FRAME_CONTENT_SEQUENCE, vec![content]);
    let mut identification = InMemDicomObject::new_empty();
    identification.put_value(tags::REFERENCED_SEGMENT_NUMBER, VR::US, number);
    groups.put_items(tags::SEGMENT_IDENTIFICATION_SEQUENCE, vec![identification]);
    groups
}

fn put_pixels(plan: &Plan, data: Vec<u8>, object: &mut InMemDicomObject) {
    object.put_value(tags::SEGMENTATION_TYPE, VR::CS, "BINARY");
    object.put_value(tags::SEGMENTS_OVERLAP, VR::CS, "NO");
    object.put_value(tags::NUMBER_OF_FRAMES, VR::IS, plan.frames.len().to_string());
    object.put_value(tags::SAMPLES_PER_PIXEL, VR::US, 1u16);
    object.put_value(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
    object.put_value(tags::BITS_ALLOCATED, VR::US, 1u16);
    object.put_value(tags::BITS_STORED, VR::US, 1u16);
    object.put_value(tags::HIGH_BIT, VR::US, 0u16);
    object.put_value(tags::PIXEL_REPRESENTATION, VR::US, 0u16);
    object.put_value(tags::PIXEL_DATA, VR::OB, PrimitiveValue::from(data));
}
