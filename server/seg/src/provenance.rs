//! What a written segment says of the exemplars it was drawn from, without naming any patient.

use dicom_core::{Tag, VR};
use dicom_object::InMemDicomObject;
use serde::{Deserialize, Serialize};

use crate::write::item::{Put, line};

/// Private creator of the block in a SegmentSequence item that holds the provenance.
const CREATOR: &str = "ENGRAM PROVENANCE 1";
const GROUP: u16 = 0x0063;
const BLOCK: u16 = 0x0010;

/// How a segment came about. Holds no identifier of another patient. Written as a private block (creator
/// `ENGRAM PROVENANCE 1`, group 0063) in the segment's item: 01 UL exemplars, 02 FD similarity, 03 FD confidence,
/// 04 LO bundle; and in words in SegmentDescription where the segment has none of its own.
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
}

impl SegmentProvenance {
    pub(crate) fn words(&self) -> String {
        format!(
            "Drawn from {} exemplars, similarity {:.3}, confidence {:.3}, bundle {}",
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
        })
    }

    pub(crate) fn put(&self, segment: &mut InMemDicomObject) {
        // The item is new: its first private block (PS3.5 7.8.1) is free.
        let tag = |element: u16| Tag(GROUP, (BLOCK << 8) | element);
        segment.put_value(Tag(GROUP, BLOCK), VR::LO, CREATOR);
        segment.put_value(tag(1), VR::UL, self.exemplars);
        segment.put_value(tag(2), VR::FD, self.similarity);
        segment.put_value(tag(3), VR::FD, self.confidence);
        segment.put_value(tag(4), VR::LO, line(&self.bundle));
    }
}
