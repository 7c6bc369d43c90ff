//! A Measurement Report (PS3.16 TID 1500): a volume for each segment, with references to SEG and images.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part16.html#sect_TID_1500>

mod content;
mod document;
mod evidence;
mod image_library;
mod measurements;
#[cfg(test)]
mod tests;

use engram_seg::{Code, ResultUids, derived_uid};

use self::content::{Item, Relationship};
use crate::error::Result;
use crate::identity::{MAKER, SERIAL_NUMBER, text};
use crate::{Rendition, SegmentedSeries, measured_segments};

/// The SEG that the report refers to: the one that it was made of, or the BINARY one that its reader was given instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReferencedSegmentation {
    /// That which was measured.
    Measured,
    /// The one that [`engram_seg::to_binary`] makes of it, whose segments are numbered 1, 2, 3 and so on.
    Binary,
}

/// Makes the report: Comprehensive 3D SR, or Comprehensive SR where the images have no frame of reference.
///
/// # Errors
/// Those of [`measured_segments`]; the file cannot be encoded.
pub fn measurement_report(series: &SegmentedSeries, referenced: ReferencedSegmentation) -> Result<Rendition> {
    let measured = measured_segments(series)?;
    let segmentation = Target::of(series, referenced);
    let mut children = vec![language()];
    children.extend(observer());
    children.push(procedure_reported(series));
    children.push(image_library::item(series));
    children.push(measurements::item(series, &segmentation, &measured));
    let root = Item::container(Relationship::Root, dcm("126000", "Imaging Measurement Report"), children);
    document::write(series, &segmentation, root.of_template("1500"))
}

/// The SEG that is referred to.
struct Target {
    sop_class_uid: String,
    sop_instance_uid: String,
    series_instance_uid: String,
    study_instance_uid: String,
    /// Whether segments are numbered by their order.
    is_renumbered: bool,
}

impl Target {
    fn of(series: &SegmentedSeries, referenced: ReferencedSegmentation) -> Self {
        let description = series.description();
        let study_instance_uid = description.study_instance_uid.clone();
        match referenced {
            ReferencedSegmentation::Measured => Self {
                sop_class_uid: description.sop_class_uid.clone(),
                sop_instance_uid: description.sop_instance_uid.clone(),
                series_instance_uid: description.series_instance_uid.clone(),
                study_instance_uid,
                is_renumbered: false,
            },
            ReferencedSegmentation::Binary => {
                let ResultUids { sop_instance_uid, series_instance_uid } = ResultUids::of_binary(description);
                let sop_class_uid = dicom_dictionary_std::uids::SEGMENTATION_STORAGE.to_owned();
                Self {
                    sop_class_uid,
                    sop_instance_uid,
                    series_instance_uid,
                    study_instance_uid,
                    is_renumbered: true,
                }
            }
        }
    }
}

/// TID 1204.
fn language() -> Item {
    let name = dcm("121049", "Language of Content Item and Descendants");
    Item::code(Relationship::HasConceptModifier, name, Code::new("en", "RFC5646", "English"))
}

/// TID 1002 and 1004: the device that measured.
fn observer() -> [Item; 6] {
    let device = Relationship::HasObservationContext;
    let uid = derived_uid(MAKER, "device");
    [
        Item::code(device, dcm("121005", "Observer Type"), dcm("121007", "Device")),
        Item::uid(device, dcm("121012", "Device Observer UID"), &uid),
        Item::text(device, dcm("121013", "Device Observer Name"), MAKER),
        Item::text(device, dcm("121014", "Device Observer Manufacturer"), MAKER),
        Item::text(device, dcm("121015", "Device Observer Model Name"), MAKER),
        Item::text(device, dcm("121016", "Device Observer Serial Number"), SERIAL_NUMBER),
    ]
}

/// By the modality, of CID 100.
fn procedure_reported(series: &SegmentedSeries) -> Item {
    let modality = text(&series.source, dicom_dictionary_std::tags::MODALITY).unwrap_or_default();
    let procedure = match modality.as_str() {
        "CT" => Code::new("25045-6", "LN", "CT unspecified body region"),
        "MR" => Code::new("25056-3", "LN", "MRI unspecified body region"),
        "PT" => Code::new("44136-0", "LN", "PET unspecified body region"),
        "US" => Code::new("25061-3", "LN", "US unspecified body region"),
        _ => Code::new("363679005", "SCT", "Imaging procedure"),
    };
    Item::code(Relationship::HasConceptModifier, dcm("121058", "Procedure reported"), procedure)
}

fn dcm(value: &str, meaning: &str) -> Code {
    Code::new(value, "DCM", meaning)
}
