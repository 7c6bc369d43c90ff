//! The DICOM JSON Model (PS3.18 F.2) as a schema.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_F.2>

use std::borrow::Cow;

use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::description::{schema_ref, text};

/// A data set: tags, as eight hexadecimal digits in upper case, to attributes.
pub struct DataSet;

/// An attribute of a data set.
pub struct Attribute;

impl PartialSchema for DataSet {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some("A data set in the DICOM JSON Model (PS3.18 F.2): tags to attributes."))
            .property_names(Some(text().pattern(Some("^[0-9A-F]{8}$"))))
            .additional_properties(Some(AdditionalProperties::from(schema_ref::<Attribute>())))
            .into()
    }
}

impl ToSchema for DataSet {
    fn name() -> Cow<'static, str> {
        "DataSet".into()
    }
}

impl PartialSchema for Attribute {
    fn schema() -> RefOr<Schema> {
        let anything = ObjectBuilder::new().schema_type(SchemaType::AnyValue);
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some(
                "An attribute: its VR, and its values, where they are, or nothing where it is empty.",
            ))
            .property("vr", text().pattern(Some("^[A-Z]{2}$")))
            .property("Value", ArrayBuilder::new().items(anything))
            .property("BulkDataURI", text())
            .property("InlineBinary", text().content_encoding("base64"))
            .required("vr")
            .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)))
            .into()
    }
}

impl ToSchema for Attribute {
    fn name() -> Cow<'static, str> {
        "Attribute".into()
    }
}
