//! One segment of a SEG: Segment Description Macro (PS3.3 C.8.20.4).

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use engram_imaging::srgb_of_cielab;
use serde::{Deserialize, Serialize};

use crate::dataset::{first_item, integer, items, text};
use crate::error::{InvalidAttributeSnafu, MissingAttributeSnafu};
use crate::{Code, LabelConcept, Result, SegmentProvenance};

/// How a segment was made: SegmentAlgorithmType.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum AlgorithmType {
    /// By a person.
    Manual,
    /// By a program that a person helped.
    Semiautomatic,
    /// By a program alone.
    Automatic,
}

impl AlgorithmType {
    /// The defined term.
    pub fn term(self) -> &'static str {
        match self {
            Self::Manual => "MANUAL",
            Self::Semiautomatic => "SEMIAUTOMATIC",
            Self::Automatic => "AUTOMATIC",
        }
    }

    fn from_term(term: &str) -> Option<Self> {
        [Self::Manual, Self::Semiautomatic, Self::Automatic].into_iter().find(|kind| kind.term() == term)
    }
}

/// Where in the body a segment lies: an item of AnatomicRegionSequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnatomicRegion {
    /// The region.
    pub region: Code,
    /// AnatomicRegionModifierSequence.
    pub modifiers: Vec<Code>,
}

/// A segment's attributes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Segment {
    /// SegmentNumber: from 1 in BINARY and FRACTIONAL; any pixel value in LABELMAP.
    pub number: u16,
    /// SegmentLabel: a name for people.
    pub label: String,
    /// SegmentDescription.
    pub description: Option<String>,
    /// What the segment is of.
    pub concept: LabelConcept,
    /// AnatomicRegionSequence.
    pub anatomic_regions: Vec<AnatomicRegion>,
    /// SegmentAlgorithmType.
    pub algorithm_type: AlgorithmType,
    /// SegmentAlgorithmName.
    pub algorithm_name: Option<String>,
    /// AlgorithmVersion of the first item of SegmentationAlgorithmIdentificationSequence.
    pub algorithm_version: Option<String>,
    /// TrackingID.
    pub tracking_id: Option<String>,
    /// TrackingUID.
    pub tracking_uid: Option<String>,
    /// RecommendedDisplayCIELabValue: L*, a*, b* as 16-bit unsigned (PS3.3 C.10.7.1.1).
    pub recommended_cielab: Option<[u16; 3]>,
    /// What Engram wrote of the segment's origin, if it made it.
    pub provenance: Option<SegmentProvenance>,
}

/// Colours of segments that name none, by segment number: red, green, blue; well apart from each other and from grey.
const PALETTE: [[u8; 3]; 10] = [
    [220, 50, 60],
    [50, 190, 90],
    [60, 120, 230],
    [240, 200, 40],
    [170, 70, 210],
    [240, 130, 40],
    [50, 200, 210],
    [230, 90, 170],
    [160, 210, 60],
    [120, 100, 250],
];

/// The colour of a segment that names none, by its number: red, green, blue.
pub fn colour_of_number(number: u16) -> [u8; 3] {
    let index = usize::from(number).wrapping_sub(1) % PALETTE.len();
    PALETTE.get(index).copied().unwrap_or_default()
}

impl Segment {
    /// The colour to show it in, sRGB: the recommended one, else that of its number.
    pub fn colour(&self) -> [u8; 3] {
        self.recommended_cielab.map_or_else(|| colour_of_number(self.number), srgb_of_cielab)
    }

    /// Whether this stands for what no segment covers, as LABELMAP objects may list it: (125040, DCM,
    /// "Background").
    pub fn is_background(&self) -> bool {
        self.concept.property_type.canonical() == ("DCM", "125040")
    }
}

/// Parse an item of SegmentSequence.
pub(crate) fn parse(item: &InMemDicomObject) -> Result<Segment> {
    let number: u16 = integer(item, tags::SEGMENT_NUMBER)
        .ok_or_else(|| missing("SegmentNumber", "an item of SegmentSequence".into()))?;
    let within = || format!("segment {number}");
    let concept = LabelConcept {
        category: codes(item, tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE).into_iter().next(),
        property_type: codes(item, tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE)
            .into_iter()
            .next()
            .ok_or_else(|| missing("SegmentedPropertyTypeCodeSequence", within()))?,
        modifiers: first_item(item, tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE)
            .map(|item| codes(item, tags::SEGMENTED_PROPERTY_TYPE_MODIFIER_CODE_SEQUENCE))
            .unwrap_or_default(),
    };
    let label = text(item, tags::SEGMENT_LABEL).unwrap_or_else(|| concept.meaning());
    Ok(Segment {
        number,
        label,
        description: text(item, tags::SEGMENT_DESCRIPTION),
        anatomic_regions: regions(item),
        algorithm_type: algorithm_type(item, number)?,
        algorithm_name: text(item, tags::SEGMENT_ALGORITHM_NAME),
        algorithm_version: first_item(item, tags::SEGMENTATION_ALGORITHM_IDENTIFICATION_SEQUENCE)
            .and_then(|identification| text(identification, tags::ALGORITHM_VERSION)),
        tracking_id: text(item, tags::TRACKING_ID),
        tracking_uid: text(item, tags::TRACKING_UID),
        recommended_cielab: cielab(item),
        provenance: SegmentProvenance::read(item),
        concept,
    })
}

fn algorithm_type(item: &InMemDicomObject, number: u16) -> Result<AlgorithmType> {
    let term = text(item, tags::SEGMENT_ALGORITHM_TYPE)
        .ok_or_else(|| missing("SegmentAlgorithmType", format!("segment {number}")))?;
    AlgorithmType::from_term(&term).ok_or_else(|| {
        InvalidAttributeSnafu {
            attribute: "SegmentAlgorithmType",
            within: format!("segment {number}"),
            value: term,
        }
        .build()
    })
}

fn regions(item: &InMemDicomObject) -> Vec<AnatomicRegion> {
    items(item, tags::ANATOMIC_REGION_SEQUENCE)
        .iter()
        .filter_map(|item| {
            let modifiers = codes(item, tags::ANATOMIC_REGION_MODIFIER_SEQUENCE);
            code(item).map(|region| AnatomicRegion { region, modifiers })
        })
        .collect()
}

fn cielab(item: &InMemDicomObject) -> Option<[u16; 3]> {
    let values: Vec<u16> = item.get(tags::RECOMMENDED_DISPLAY_CIE_LAB_VALUE)?.value().to_multi_int().ok()?;
    values.try_into().ok()
}

fn codes(object: &InMemDicomObject, tag: dicom_core::Tag) -> Vec<Code> {
    items(object, tag).iter().filter_map(code).collect()
}

/// The code that an item holds (Code Sequence Macro, PS3.3 8.8).
fn code(item: &InMemDicomObject) -> Option<Code> {
    let short = || Some((text(item, tags::CODE_VALUE)?, text(item, tags::CODING_SCHEME_DESIGNATOR)?));
    let long = || Some((text(item, tags::LONG_CODE_VALUE)?, text(item, tags::CODING_SCHEME_DESIGNATOR)?));
    // A URN names its scheme itself; the designator is then optional.
    let urn = || {
        let scheme = text(item, tags::CODING_SCHEME_DESIGNATOR).unwrap_or_else(|| "URN".to_owned());
        Some((text(item, tags::URN_CODE_VALUE)?, scheme))
    };
    let (value, scheme) = short().or_else(long).or_else(urn)?;
    Some(Code { value, scheme, meaning: text(item, tags::CODE_MEANING).unwrap_or_default() })
}

fn missing(attribute: &'static str, within: String) -> crate::Error {
    MissingAttributeSnafu { attribute, within }.build()
}
