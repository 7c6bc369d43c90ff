//! What all files of this room share: whose they are, when and by what they were made.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_object::meta::FileMetaTableBuilder;
use engram_seg::put::{Put, line};
use engram_seg::{Segment, copy_patient_and_study};
use snafu::ResultExt;

use crate::error::{EncodeSnafu, MetaSnafu, Result};
use crate::{Rendition, SegmentedSeries};

/// Manufacturer and model of what makes the files.
pub(crate) const MAKER: &str = "Engram";
/// Its version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Its serial number: there is one only.
pub(crate) const SERIAL_NUMBER: &str = "1";

/// Identity of one file.
pub(crate) struct Identity<'a> {
    pub(crate) sop_class_uid: &'a str,
    pub(crate) sop_instance_uid: String,
    pub(crate) series_instance_uid: String,
    pub(crate) series_number: i32,
    pub(crate) series_description: String,
    pub(crate) instance_number: usize,
    pub(crate) modality: &'a str,
}

/// Patient, General Study, General Series, General Equipment and SOP Common modules (PS3.3 C.7.1 to C.7.5, C.12.1). Dates
/// are those of the SEG.
pub(crate) fn put(series: &SegmentedSeries, identity: &Identity, object: &mut InMemDicomObject) {
    copy_patient_and_study(&series.source, object);
    let (date, time) = content_date_time(series);
    object.put_value(tags::SOP_CLASS_UID, VR::UI, identity.sop_class_uid);
    object.put_value(tags::SOP_INSTANCE_UID, VR::UI, identity.sop_instance_uid.as_str());
    object.put_value(tags::INSTANCE_CREATION_DATE, VR::DA, date.as_str());
    object.put_value(tags::INSTANCE_CREATION_TIME, VR::TM, time.as_str());
    object.put_value(tags::CONTENT_DATE, VR::DA, date.as_str());
    object.put_value(tags::CONTENT_TIME, VR::TM, time.as_str());
    object.put_value(tags::MODALITY, VR::CS, identity.modality);
    object.put_value(tags::SERIES_INSTANCE_UID, VR::UI, identity.series_instance_uid.as_str());
    object.put_value(tags::SERIES_NUMBER, VR::IS, identity.series_number.to_string());
    object.put_value(tags::SERIES_DATE, VR::DA, date);
    object.put_value(tags::SERIES_TIME, VR::TM, time);
    object.put_value(tags::SERIES_DESCRIPTION, VR::LO, line(&identity.series_description));
    object.put_value(tags::INSTANCE_NUMBER, VR::IS, identity.instance_number.to_string());
    object.put_value(tags::MANUFACTURER, VR::LO, MAKER);
    object.put_value(tags::MANUFACTURER_MODEL_NAME, VR::LO, MAKER);
    object.put_value(tags::DEVICE_SERIAL_NUMBER, VR::LO, SERIAL_NUMBER);
    object.put_value(tags::SOFTWARE_VERSIONS, VR::LO, VERSION);
}

/// ContentDate and ContentTime of the SEG.
pub(crate) fn content_date_time(series: &SegmentedSeries) -> (String, String) {
    let of_seg = |tag| text(&series.header, tag).unwrap_or_default();
    (of_seg(tags::CONTENT_DATE), of_seg(tags::CONTENT_TIME))
}

/// The Part 10 file.
pub(crate) fn finished(object: InMemDicomObject, identity: Identity) -> Result<Rendition> {
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let object = object.with_meta(meta).map_err(Box::new).context(MetaSnafu)?;
    let mut part10 = Vec::new();
    object.write_all(&mut part10).map_err(Box::new).context(EncodeSnafu)?;
    let sop_class_uid = identity.sop_class_uid.to_owned();
    Ok(Rendition { sop_class_uid, sop_instance_uid: identity.sop_instance_uid, part10 })
}

/// `Engram: Liver, Spleen`, as many names as a SeriesDescription holds.
pub(crate) fn series_description<'a>(segments: impl Iterator<Item = &'a Segment>) -> String {
    const LONGEST: usize = 64;
    let names: Vec<&str> = segments.map(|segment| segment.label.as_str()).collect();
    let mut told = String::from("Engram:");
    for (index, name) in names.iter().enumerate() {
        let separator = if index == 0 { " " } else { ", " };
        let left = names.len() - index;
        let rest = format!(" and {left} more");
        let with = format!("{told}{separator}{name}");
        // Where others follow, there must be room to say so.
        let room = if left == 1 { LONGEST } else { LONGEST - rest.len() };
        if with.chars().count() > room {
            return told + &rest;
        }
        told = with;
    }
    told
}

/// The text of an attribute without padding; `None` where absent or empty.
pub(crate) fn text(object: &InMemDicomObject, tag: Tag) -> Option<String> {
    let value = object.get(tag)?.to_str().ok()?;
    let trimmed = value.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::named_segments;

    #[test]
    fn descriptions_fit() {
        let told = |names: &[&str]| series_description(named_segments(names).iter());
        assert_eq!(told(&["Liver", "Spleen"]), "Engram: Liver, Spleen");
        let long = "Left lower lobe of lung";
        assert_eq!(told(&[long, long, long]), format!("Engram: {long} and 2 more"));
        assert!(told(&[&"x".repeat(80)]).len() <= 64);
    }
}
