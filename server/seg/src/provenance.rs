//! What a written segment says of the exemplars it was drawn from, without naming any patient.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use serde::{Deserialize, Serialize};

use crate::write::item::{Put, line};

/// Private creator of the block in a SegmentSequence item that holds the provenance.
const CREATOR: &str = "ENGRAM PROVENANCE 1";
const GROUP: u16 = 0x0063;
const BLOCK: u16 = 0x0010;

/// How a segment came about. Holds no identifier of another patient. Written as a private block (creator
/// `ENGRAM PROVENANCE 1`, group 0063) in the segment's item: 01 UL exemplars, 02 FD similarity, 03 FD confidence,
/// 04 LO bundle, 05 SQ slices for review, an item each: Referenced SOP Instance UID, Referenced Frame Number, and in the
/// same private block 03 FD confidence; and in words in SegmentDescription where the segment has none of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentProvenance {
    /// How many exemplars the segment was conditioned on.
    pub exemplars: u32,
    /// Mean similarity of those exemplars to the slices, 0 to 1.
    pub similarity: f64,
    /// Mean confidence over the segment's slices, 0 to 1.
    pub confidence: f64,
    /// Name and version of the bundle.
    pub bundle: String,
    /// Slices that a person should look at first.
    pub review: Vec<ReviewedSlice>,
}

/// A slice of the source series that a person should look at first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReviewedSlice {
    /// SOPInstanceUID of the image.
    pub sop_instance_uid: String,
    /// Its frame, from 1.
    pub frame: u32,
    /// Of the segment's mask on it, or of there being none, 0 to 1.
    pub confidence: f64,
}

impl SegmentProvenance {
    pub(crate) fn words(&self) -> String {
        let review = match self.review.len() {
            0 => String::new(),
            1 => ", 1 slice for review".to_owned(),
            slices => format!(", {slices} slices for review"),
        };
        format!(
            "Drawn from {} exemplars, similarity {:.3}, confidence {:.3}, bundle {}{review}",
            self.exemplars, self.similarity, self.confidence, self.bundle
        )
    }

    pub(crate) fn read(segment: &InMemDicomObject) -> Option<Self> {
        let element = |number| segment.private_element(GROUP, CREATOR, number).ok();
        Some(Self {
            exemplars: element(1)?.to_int().ok()?,
            similarity: element(2)?.to_float64().ok()?,
            confidence: element(3)?.to_float64().ok()?,
            bundle: element(4)?.to_str().ok()?.trim_end().to_owned(),
            review: element(5)
                .and_then(|review| review.items())
                .map(|items| items.iter().filter_map(ReviewedSlice::read).collect())
                .unwrap_or_default(),
        })
    }

    pub(crate) fn put(&self, segment: &mut InMemDicomObject) {
        segment.put_value(Tag(GROUP, BLOCK), VR::LO, CREATOR);
        segment.put_value(tag(1), VR::UL, self.exemplars);
        segment.put_value(tag(2), VR::FD, self.similarity);
        segment.put_value(tag(3), VR::FD, self.confidence);
        segment.put_value(tag(4), VR::LO, line(&self.bundle));
        if !self.review.is_empty() {
            segment.put_items(tag(5), self.review.iter().map(ReviewedSlice::item).collect());
        }
    }
}

impl ReviewedSlice {
    fn read(item: &InMemDicomObject) -> Option<Self> {
        Some(Self {
            sop_instance_uid: text(item, tags::REFERENCED_SOP_INSTANCE_UID)?,
            frame: item.get(tags::REFERENCED_FRAME_NUMBER)?.to_int().ok()?,
            confidence: item.private_element(GROUP, CREATOR, 3).ok()?.to_float64().ok()?,
        })
    }

    fn item(&self) -> InMemDicomObject {
        let mut item = InMemDicomObject::new_empty();
        item.put_value(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, self.sop_instance_uid.as_str());
        item.put_value(tags::REFERENCED_FRAME_NUMBER, VR::IS, self.frame.to_string());
        item.put_value(Tag(GROUP, BLOCK), VR::LO, CREATOR);
        item.put_value(tag(3), VR::FD, self.confidence);
        item
    }
}

/// An element of the block. The items are new: their first private block (PS3.5 7.8.1) is free.
fn tag(element: u16) -> Tag {
    Tag(GROUP, (BLOCK << 8) | element)
}

fn text(item: &InMemDicomObject, tag: Tag) -> Option<String> {
    Some(item.get(tag)?.to_str().ok()?.trim_end_matches(['\0', ' ']).to_owned())
}
