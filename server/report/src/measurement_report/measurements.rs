//! A group of measurements for each segment (TID 1411).

use engram_seg::{AlgorithmType, AnatomicRegion, Code, Segment, derived_uid};

use super::content::{ImageReference, Item, Relationship};
use super::{Target, dcm};
use crate::{MeasuredSegment, SegmentedSeries};

/// Lateralities of CID 244.
const LATERALITIES: [&str; 4] = ["24028007", "7771000", "51440002", "66459002"];

pub(super) fn item(series: &SegmentedSeries, target: &Target, measured: &[MeasuredSegment]) -> Item {
    // A BINARY SEG is numbered in the order of the numbers, which need not be that of the items.
    let mut numbers: Vec<u16> = series.segments().map(|segment| segment.number).collect();
    numbers.sort_unstable();
    let groups = series.segments().zip(measured).map(|(segment, measured)| {
        let rank = numbers.binary_search(&segment.number).unwrap_or_default();
        let number = if target.is_renumbered { rank as u16 + 1 } else { segment.number };
        group(series, target, segment, number, measured)
    });
    let name = dcm("126010", "Imaging Measurements");
    Item::container(Relationship::Contains, name, groups.collect())
}

fn group(
    series: &SegmentedSeries,
    target: &Target,
    segment: &Segment,
    number: u16,
    measured: &MeasuredSegment,
) -> Item {
    let mut items = Vec::from(tracking(series, segment));
    if let Some(category) = &segment.concept.category {
        let name = Code::new("276214006", "SCT", "Finding category");
        items.push(Item::code(Relationship::Contains, name, category.clone()));
    }
    let finding = segment.concept.property_type.clone();
    items.push(Item::code(Relationship::Contains, dcm("121071", "Finding"), finding));
    let reference = ImageReference {
        sop_class_uid: target.sop_class_uid.clone(),
        sop_instance_uid: target.sop_instance_uid.clone(),
        segment: Some(number),
    };
    let name = dcm("121191", "Referenced Segment");
    items.push(Item::image(Relationship::Contains, Some(name), reference));
    if let Some(source) =
        crate::identity::text(&series.source, dicom_dictionary_std::tags::SERIES_INSTANCE_UID)
    {
        let name = dcm("121232", "Source series for segmentation");
        items.push(Item::uid(Relationship::Contains, name, &source));
    }
    items.extend(finding_sites(segment));
    items.extend(algorithm(segment));
    items.extend(measured.millilitres.map(volume));
    Item::container(Relationship::Contains, dcm("125007", "Measurement Group"), items).of_template("1411")
}

/// TID 4108: the segment's own, so that it can be followed from study to study.
fn tracking(series: &SegmentedSeries, segment: &Segment) -> [Item; 2] {
    let context = Relationship::HasObservationContext;
    let id = segment.tracking_id.as_deref().unwrap_or(&segment.label);
    let derived =
        || derived_uid(&series.description().sop_instance_uid, &format!("segment/{}", segment.number));
    let uid = segment.tracking_uid.clone().unwrap_or_else(derived);
    [
        Item::text(context, dcm("112039", "Tracking Identifier"), id),
        Item::uid(context, dcm("112040", "Tracking Unique Identifier"), &uid),
    ]
}

/// Where the segment lies, where it says so; of a structure that has a side, the structure itself with its side, since
/// a side is one of a site (TID 1411).
fn finding_sites(segment: &Segment) -> Vec<Item> {
    if !segment.anatomic_regions.is_empty() {
        return segment.anatomic_regions.iter().map(site).collect();
    }
    let concept = &segment.concept;
    if !concept.modifiers.iter().any(is_laterality) {
        return Vec::new();
    }
    let region = concept.property_type.clone();
    vec![site(&AnatomicRegion { region, modifiers: concept.modifiers.clone() })]
}

fn site(region: &AnatomicRegion) -> Item {
    let modifier = |code: &Code| {
        let name = match is_laterality(code) {
            true => Code::new("272741003", "SCT", "Laterality"),
            false => Code::new("106233006", "SCT", "Topographical modifier"),
        };
        Item::code(Relationship::HasConceptModifier, name, code.clone())
    };
    let name = Code::new("363698007", "SCT", "Finding Site");
    Item::code(Relationship::HasConceptModifier, name, region.region.clone())
        .with(region.modifiers.iter().map(modifier))
}

fn is_laterality(code: &Code) -> bool {
    let (scheme, value) = code.canonical();
    scheme == "SCT" && LATERALITIES.contains(&value)
}

/// TID 4019, which wants a version; a person's drawing has neither.
fn algorithm(segment: &Segment) -> Vec<Item> {
    let known = segment.algorithm_name.as_deref().zip(segment.algorithm_version.as_deref());
    let Some((name, version)) = known.filter(|_| segment.algorithm_type != AlgorithmType::Manual) else {
        return Vec::new();
    };
    vec![
        Item::text(Relationship::HasConceptModifier, dcm("111001", "Algorithm Name"), name),
        Item::text(Relationship::HasConceptModifier, dcm("111003", "Algorithm Version"), version),
    ]
}

fn volume(millilitres: f64) -> Item {
    let name = Code::new("118565006", "SCT", "Volume");
    Item::number(Relationship::Contains, name, millilitres, Code::new("mL", "UCUM", "milliliter"))
}
