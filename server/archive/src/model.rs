//! Reading the DICOM JSON model (PS3.18 Annex F).

use dicom_core::Tag;
use serde_json::Value;

/// How the model names an attribute: eight hexadecimal digits.
pub(crate) fn key(tag: Tag) -> String {
    format!("{:04X}{:04X}", tag.group(), tag.element())
}

/// The values of an element: `{"vr":..., "Value":[...]}`.
pub(crate) fn values(element: &Value) -> &[Value] {
    element.get("Value").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A value as text: a string, a number's digits, or a person name with its component groups set apart by `=`.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Object(name) => {
            let group = |key| name.get(key).and_then(Value::as_str).unwrap_or_default();
            let groups = [group("Alphabetic"), group("Ideographic"), group("Phonetic")].join("=");
            Some(groups.trim_end_matches('=').to_owned())
        }
        _ => None,
    }
}

/// The first value of an element as text.
pub(crate) fn first_text(element: &Value) -> Option<String> {
    values(element).first().and_then(text)
}
