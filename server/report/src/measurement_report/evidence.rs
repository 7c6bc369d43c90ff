//! What the report refers to, by study and series (Hierarchical SOP Instance Reference Macro, PS3.3 C.17.2.1).

use dicom_core::VR;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use engram_seg::put::Put;

use super::Target;
use crate::SegmentedSeries;
use crate::identity::text;

/// Items of CurrentRequestedProcedureEvidenceSequence: the images and the SEG.
pub(super) fn items(series: &SegmentedSeries, target: &Target) -> Vec<InMemDicomObject> {
    let source = |tag| text(&series.source, tag).unwrap_or_default();
    let study = source(tags::STUDY_INSTANCE_UID);
    let images = series.instances();
    let images = images.map(|slice| instance(&slice.sop_class_uid, &slice.sop_instance_uid)).collect();
    let images = of_series(&source(tags::SERIES_INSTANCE_UID), images);
    let segmentation = vec![instance(&target.sop_class_uid, &target.sop_instance_uid)];
    let segmentation = of_series(&target.series_instance_uid, segmentation);
    match study == target.study_instance_uid {
        true => vec![of_study(&study, vec![images, segmentation])],
        false => {
            vec![of_study(&study, vec![images]), of_study(&target.study_instance_uid, vec![segmentation])]
        }
    }
}

fn of_study(uid: &str, series: Vec<InMemDicomObject>) -> InMemDicomObject {
    let mut item = InMemDicomObject::new_empty();
    item.put_value(tags::STUDY_INSTANCE_UID, VR::UI, uid);
    item.put_items(tags::REFERENCED_SERIES_SEQUENCE, series);
    item
}

fn of_series(uid: &str, instances: Vec<InMemDicomObject>) -> InMemDicomObject {
    let mut item = InMemDicomObject::new_empty();
    item.put_value(tags::SERIES_INSTANCE_UID, VR::UI, uid);
    item.put_items(tags::REFERENCED_SOP_SEQUENCE, instances);
    item
}

fn instance(sop_class_uid: &str, sop_instance_uid: &str) -> InMemDicomObject {
    let mut item = InMemDicomObject::new_empty();
    item.put_value(tags::REFERENCED_SOP_CLASS_UID, VR::UI, sop_class_uid);
    item.put_value(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, sop_instance_uid);
    item
}
