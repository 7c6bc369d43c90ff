//! A label as its annotations wrote it: what a result's segment is given again.

use engram_memory::LabelDefinition;
use engram_seg::{AnatomicRegion, LabelConcept, Segment};
use serde::{Deserialize, Serialize};
use snafu::ResultExt;

use crate::error::{JsonSnafu, Result};

/// The key of a label as a person writes it: the canonical one where it is a code.
pub(crate) fn key_of(written: &str) -> String {
    written.parse::<LabelConcept>().map_or_else(|_| written.to_owned(), |concept| concept.key())
}

/// What a segment of this label carries over from the exemplars.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LabelTemplate {
    /// SegmentLabel.
    pub name: String,
    /// What it is of.
    pub concept: LabelConcept,
    /// AnatomicRegionSequence.
    pub anatomic_regions: Vec<AnatomicRegion>,
    /// RecommendedDisplayCIELabValue.
    pub recommended_cielab: Option<[u16; 3]>,
}

impl LabelTemplate {
    /// Of an annotation's segment.
    pub fn of(segment: &Segment) -> Self {
        Self {
            name: segment.label.clone(),
            concept: segment.concept.clone(),
            anatomic_regions: segment.anatomic_regions.clone(),
            recommended_cielab: segment.recommended_cielab,
        }
    }

    /// As the bank keeps it.
    pub fn definition(&self) -> Result<LabelDefinition> {
        let codes = serde_json::to_string(self).context(JsonSnafu { what: "a label's codes" })?;
        Ok(LabelDefinition { key: self.concept.key(), name: self.concept.meaning(), codes })
    }

    /// From the bank.
    pub fn parse(definition: &LabelDefinition) -> Result<Self> {
        serde_json::from_str(&definition.codes).context(JsonSnafu { what: "a label's codes" })
    }
}
