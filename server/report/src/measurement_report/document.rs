//! The document around the content: SR Document Series and General modules (PS3.3 C.17.1, C.17.2).

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use engram_seg::derived_uid;
use engram_seg::put::Put;

use super::content::Item;
use super::{Target, evidence};
use crate::error::Result;
use crate::identity::{self, Identity};
use crate::{Rendition, SegmentedSeries};

const SERIES_NUMBER: i32 = 9002;

pub(super) fn write(series: &SegmentedSeries, target: &Target, root: Item) -> Result<Rendition> {
    let is_in_space = series.slices().iter().any(|slice| slice.frame_of_reference_uid.is_some());
    let identity = Identity {
        sop_class_uid: match is_in_space {
            true => uids::COMPREHENSIVE3_DSR_STORAGE,
            false => uids::COMPREHENSIVE_SR_STORAGE,
        },
        // Of the SEG that is referred to, since another reference makes another report.
        sop_instance_uid: derived_uid(&target.sop_instance_uid, "measurement report"),
        series_instance_uid: derived_uid(&target.sop_instance_uid, "measurement report series"),
        series_number: SERIES_NUMBER,
        series_description: identity::series_description(series.segments()),
        instance_number: 1,
        modality: "SR",
    };
    let mut object = InMemDicomObject::new_empty();
    identity::put(series, &identity, &mut object);
    object.put_items(tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE, Vec::new());
    object.put_value(tags::COMPLETION_FLAG, VR::CS, "COMPLETE");
    object.put_value(tags::VERIFICATION_FLAG, VR::CS, "UNVERIFIED");
    object.put_items(tags::PERFORMED_PROCEDURE_CODE_SEQUENCE, Vec::new());
    object.put_items(tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, evidence::items(series, target));
    root.put(&mut object);
    identity::finished(object, identity)
}
