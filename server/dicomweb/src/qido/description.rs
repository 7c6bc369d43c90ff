//! What the OpenAPI document says of searches.

use actix_web::http::StatusCode;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::StandardDataDictionary;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, ParameterStyle};
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, Type};

use crate::data_set::DataSet;
use crate::description::{
    Describe, bodiless, flag, header, json, operation, query_parameter, schema_ref, sent, text, whole,
};
use crate::state::attribute_offers;

const TAG: &str = "QIDO-RS";

/// The matching keys that are named one by one; [`OTHER_KEYS`] stands for the others.
const KEYS: [&str; 18] = [
    "PatientName",
    "PatientID",
    "StudyInstanceUID",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ModalitiesInStudy",
    "ReferringPhysicianName",
    "SeriesInstanceUID",
    "SeriesNumber",
    "Modality",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "SOPClassUID",
    "SOPInstanceUID",
    "InstanceNumber",
    "RequestAttributesSequence.ScheduledProcedureStepID",
];
const OTHER_KEYS: &str = "attributes";
/// How keys are matched.
const MATCHING: [&str; 3] = ["fuzzymatching", "emptyvaluematching", "multiplevaluematching"];

/// How many matches there are.
#[derive(Debug, Serialize, ToSchema)]
pub struct Count {
    /// How many a search would find without `limit` and `offset`.
    pub count: u64,
}

/// The parameters of searches.
pub fn parameters() -> Vec<Parameter> {
    let mut parameters: Vec<Parameter> = KEYS.into_iter().map(key).collect();
    parameters.extend([
        other_keys(),
        query_parameter("limit", "Most matches to answer.", whole(0, u32::MAX)),
        query_parameter("offset", "Matches to pass over.", whole(0, u32::MAX)),
        query_parameter(
            "includefield",
            "What to answer beside the attributes that are always there: `all`, or attributes by keyword or tag, \
             separated by commas. May be repeated.",
            ArrayBuilder::new().items(text().pattern(Some(ATTRIBUTE_OR_ALL))),
        ),
        query_parameter(
            "orderby",
            "What to put the matches in order by: attributes of their own level or above by keyword or tag, separated by \
             commas, from the last value to the first behind a `-`.",
            text().pattern(Some(ORDER)),
        ),
        query_parameter("fuzzymatching", "Whether names match by the beginning of any of their words.", flag()),
        query_parameter("emptyvaluematching", "Whether `\"\"` matches what has no value.", flag()),
        query_parameter("multiplevaluematching", "Whether a list of values matches what has all of them.", flag()),
    ]);
    parameters
}

/// An attribute by keyword or tag, dotted where it is inside a sequence (PS3.18 8.3.4.1).
const ATTRIBUTE: &str = r"^([A-Z][A-Za-z]*|[0-9A-Fa-f]{8})(\.([A-Z][A-Za-z]*|[0-9A-Fa-f]{8}))*$";
const ATTRIBUTE_OR_ALL: &str = r"^(all|[A-Z][A-Za-z]*|[0-9A-Fa-f]{8})(,([A-Z][A-Za-z]*|[0-9A-Fa-f]{8}))*$";

const ORDER: &str = r"^-?([A-Z][A-Za-z]*|[0-9A-Fa-f]{8})(,-?([A-Z][A-Za-z]*|[0-9A-Fa-f]{8}))*$";

fn key(keyword: &str) -> Parameter {
    let last = keyword.rsplit('.').next().unwrap_or(keyword);
    let tag = StandardDataDictionary.by_name(last).map(|entry| entry.tag().to_string()).unwrap_or_default();
    query_parameter(keyword, &format!("Matches {last} {tag}, as PS3.18 8.3.4.1.1 says."), text())
}

fn other_keys() -> Parameter {
    let keys = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property_names(Some(text().pattern(Some(ATTRIBUTE))))
        .additional_properties(Some(AdditionalProperties::from(utoipa::openapi::RefOr::T(text().into()))));
    ParameterBuilder::new()
        .name(OTHER_KEYS)
        .parameter_in(ParameterIn::Query)
        .description(Some(
            "Any other attribute, each a query parameter by its keyword or tag; inside of sequences by a path with dots.",
        ))
        .schema(Some(keys))
        .style(Some(ParameterStyle::Form))
        .explode(Some(true))
        .build()
}

/// A search (PS3.18 10.6).
///
/// <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.6>
pub fn search(id: &str, summary: &str) -> Operation {
    let data_sets = ArrayBuilder::new().items(schema_ref::<DataSet>());
    let found = sent("The matches.", &attribute_offers(), Some(data_sets.into()))
        .header("X-Total-Count", header("How many match in all, where that is known.", whole(0, u32::MAX)))
        .header("Warning", header("299: there are more than were answered.", text()));
    operation(TAG, id, summary)
        .query(&KEYS)
        .query(&[OTHER_KEYS])
        .query(&MATCHING)
        .query(&["includefield", "orderby", "limit", "offset", "accept"])
        .response("200", found)
        .response("204", bodiless("Nothing matches, and the answer would be XML."))
        .failures(&[StatusCode::BAD_REQUEST, StatusCode::NOT_ACCEPTABLE])
        .build()
}

/// A count of what a search would find.
pub fn count(id: &str, summary: &str) -> Operation {
    operation(TAG, id, summary)
        .query(&KEYS)
        .query(&[OTHER_KEYS])
        .query(&MATCHING)
        .query(&["accept"])
        .response("200", json::<Count>("How many match."))
        .failures(&[StatusCode::BAD_REQUEST, StatusCode::NOT_ACCEPTABLE])
        .build()
}
