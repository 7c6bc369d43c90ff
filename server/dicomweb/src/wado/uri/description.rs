//! What the OpenAPI document says of WADO-URI.

use actix_web::http::StatusCode;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder};

use crate::description::{Describe, operation, query_parameter, text, whole};
use crate::media::Offer;
use crate::place::UID;
use crate::wado::description::in_stretches;
use crate::wado::document;
use crate::wado::instances::service::DICOM;
use crate::wado::rendered::PICTURES;
use crate::wado::rendered::parameters::MAX_VIEWPORT;
use crate::wado::video;

const NAMES: [&str; 16] = [
    "requestType",
    "studyUID",
    "seriesUID",
    "objectUID",
    "presentationUID",
    "presentationSeriesUID",
    "contentType",
    "transferSyntax",
    "frameNumber",
    "rows",
    "columns",
    "region",
    "windowCenter",
    "windowWidth",
    "imageQuality",
    "anonymize",
];

/// The parameters of WADO-URI (PS3.18 9.4.1).
pub fn parameters() -> [Parameter; 16] {
    let needed = |parameter: Parameter| ParameterBuilder::from(parameter).required(Required::True).build();
    let uid = || text().pattern(Some(UID));
    let number = || text().pattern(Some(r"^-?[0-9]+(\.[0-9]+)?$"));
    let side = || whole(1, MAX_VIEWPORT);
    [
        needed(query_parameter("requestType", "Always WADO.", text().enum_values(Some(["WADO"])))),
        query_parameter("studyUID", "StudyInstanceUID.", uid()),
        query_parameter("seriesUID", "SeriesInstanceUID.", uid()),
        needed(query_parameter("objectUID", "SOPInstanceUID.", uid())),
        query_parameter(
            "presentationUID",
            "A presentation state that the picture is to show the object by.",
            uid(),
        ),
        query_parameter("presentationSeriesUID", "The presentation state's series.", uid()),
        query_parameter("contentType", "Media types, in order of preference.", text()),
        query_parameter(
            "transferSyntax",
            "Of the object: the one it is stored in, `*`, or one that it can be transcoded to.",
            text(),
        ),
        query_parameter("frameNumber", "Of a picture, from 1.", whole(1, u32::MAX)),
        query_parameter("rows", "Pixels that the picture is to fit into.", side()),
        query_parameter("columns", "Pixels that the picture is to fit into.", side()),
        query_parameter(
            "region",
            "`left,top,right,bottom`, as shares of the image.",
            text().pattern(Some(r"^[0-9]+(\.[0-9]+)?(,[0-9]+(\.[0-9]+)?){3}$")),
        ),
        query_parameter("windowCenter", "With `windowWidth`.", number()),
        query_parameter("windowWidth", "With `windowCenter`; at least 1.", number()),
        query_parameter("imageQuality", "Quality of a JPEG.", whole(1, 100)),
        query_parameter(
            "anonymize",
            "Objects are sent as they are stored.",
            text().enum_values(Some(["no"])),
        ),
    ]
}

/// WADO-URI (PS3.18 9.4).
///
/// <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_9.4>
pub fn retrieve(id: &str) -> Operation {
    let mut offers = PICTURES.map(Offer::single).to_vec();
    offers.extend(video::MEDIA_TYPES.into_iter().chain(document::every_media_type()).map(Offer::single));
    offers.push(Offer::single(DICOM));
    let operation =
        operation("WADO-URI", id, "One instance, as a picture, as a document or as it is stored.")
            .query(&NAMES)
            .query(&["annotation", "iccprofile"])
            .failures(&[StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND, StatusCode::NOT_ACCEPTABLE]);
    in_stretches(operation, "The instance.", &offers).build()
}
