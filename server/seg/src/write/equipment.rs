//! What made the result: General and Enhanced General Equipment (PS3.3 C.7.5), ContributingEquipmentSequence.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::NewSegmentation;
use super::item::{Put, clipped, line};
use crate::Code;

pub(super) fn put(new: &NewSegmentation, object: &mut InMemDicomObject) {
    put_equipment(new, object);
    let mut item = InMemDicomObject::new_empty();
    put_equipment(new, &mut item);
    item.put_code(
        tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE,
        &Code::new("109102", "DCM", "Processing Equipment"),
    );
    item.put_value(tags::CONTRIBUTION_DATE_TIME, VR::DT, format!("{}{}", new.content.date, new.content.time));
    item.put_value(tags::CONTRIBUTION_DESCRIPTION, VR::ST, clipped(&new.equipment.contribution, 1024));
    object.put_items(tags::CONTRIBUTING_EQUIPMENT_SEQUENCE, vec![item]);
}

fn put_equipment(new: &NewSegmentation, object: &mut InMemDicomObject) {
    let equipment = &new.equipment;
    object.put_value(tags::MANUFACTURER, VR::LO, line(&equipment.manufacturer));
    object.put_value(tags::MANUFACTURER_MODEL_NAME, VR::LO, line(&equipment.model_name));
    object.put_value(tags::DEVICE_SERIAL_NUMBER, VR::LO, line(&equipment.device_serial_number));
    object.put_value(tags::SOFTWARE_VERSIONS, VR::LO, line(&equipment.software_versions));
}
