//! Elements of DICOM JSON, made ready to be encoded.

use std::collections::BTreeMap;

use dicom_core::{Tag, VR};
use dicom_object::InMemDicomObject;
use serde_json::{Map, Value, json};

use super::error::{ElementSnafu, Result};
use crate::native_model;

/// Longest value of a DS attribute, in characters (PS3.5 Table 6.2-1).
const DS_LENGTH: usize = 16;

/// A data set of DICOM JSON by tag, in the order in which it is encoded.
pub type Elements = BTreeMap<Tag, Value>;

/// The elements of a DICOM JSON object. Group lengths, and what is no part of a data set, are left out.
pub fn elements(object: Map<String, Value>) -> Result<Elements> {
    let mut elements = Elements::new();
    for (key, element) in object {
        let Some((group, number)) = native_model::tag(&key) else {
            return ElementSnafu { tag: key, problem: "this is no tag" }.fail();
        };
        if group <= 0x0002 || number == 0 {
            continue;
        }
        // PS3.5 section 7.1: no attribute of a data set has these groups; FFFE is that of items and delimiters.
        if matches!(group, 0x0003..=0x0007 | 0xFFFE) {
            return ElementSnafu { tag: key, problem: "no data set has this group" }.fail();
        }
        if elements.insert(Tag(group, number), element).is_some() {
            return ElementSnafu { tag: key, problem: "it stands there twice" }.fail();
        }
    }
    Ok(elements)
}

/// The VR of an element.
pub fn vr(tag: Tag, element: &Value) -> Result<VR> {
    let vr = element.get("vr").and_then(Value::as_str).and_then(|vr| vr.parse().ok());
    vr.map_or_else(|| ElementSnafu { tag: name(tag), problem: "it has no VR" }.fail(), Ok)
}

/// How DICOM JSON names a tag.
pub fn name(tag: Tag) -> String {
    format!("{:04X}{:04X}", tag.group(), tag.element())
}

/// An element's values.
pub fn values(element: &Value) -> &[Value] {
    element.get("Value").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The first value of an attribute as text; `None` where there is none.
pub fn first_text(elements: &Elements, tag: Tag) -> Option<String> {
    match values(elements.get(&tag)?).first()? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Whether the data set holds text that is not ASCII, at any depth.
pub fn needs_charset(element: &Value) -> bool {
    match element {
        Value::String(text) => !text.is_ascii(),
        Value::Array(values) => values.iter().any(needs_charset),
        Value::Object(object) => object.values().any(needs_charset),
        _ => false,
    }
}

/// An element that is neither a sequence nor bulk data as `dicom-json` reads it, in a data set of its own; and
/// whether a decimal had to be rounded.
pub fn decode(tag: Tag, vr: VR, mut element: Value) -> Result<(InMemDicomObject, bool)> {
    let mut rounded = false;
    for value in element.get_mut("Value").and_then(Value::as_array_mut).into_iter().flatten() {
        match (vr, &*value) {
            // `dicom-json` knows empty values in lists of text alone.
            (VR::PN, Value::Null) => *value = json!({}),
            (VR::DS | VR::IS, Value::Null) => *value = json!(""),
            (VR::DS, Value::Number(number)) => {
                let (text, is_exact) = decimal_string(number);
                rounded |= !is_exact;
                *value = text.into();
            }
            _ => {}
        }
    }
    let data_set = Map::from_iter([(name(tag), element)]);
    let object = dicom_json::from_value(Value::Object(data_set)).map_err(|error| error.to_string());
    match object {
        Ok(object) => Ok((object, rounded)),
        Err(problem) => ElementSnafu { tag: name(tag), problem }.fail(),
    }
}

/// The bytes of an InlineBinary; `None` where the element has none.
pub fn inline_binary(tag: Tag, element: &Value) -> Result<Option<Vec<u8>>> {
    let Some(base64) = element.get("InlineBinary") else { return Ok(None) };
    let (object, _) = decode(tag, VR::OB, json!({ "vr": "OB", "InlineBinary": base64 }))?;
    let bytes = object.get(tag).and_then(|element| element.to_bytes().ok());
    Ok(bytes.map(|bytes| bytes.into_owned()))
}

/// A number as a decimal string, and whether it is exactly that number. JSON has more digits than a DS has room for:
/// then it is the nearest that fits.
fn decimal_string(number: &serde_json::Number) -> (String, bool) {
    let text = number.to_string();
    let Some(value) = number.as_f64().filter(|_| text.len() > DS_LENGTH) else { return (text, true) };
    let forms = (0..DS_LENGTH).flat_map(|digits| [format!("{value:.digits$}"), format!("{value:.digits$e}")]);
    let error = |text: &String| text.parse().map_or(f64::INFINITY, |read: f64| (read - value).abs());
    let nearest = forms
        .filter(|text| text.len() <= DS_LENGTH)
        .min_by(|a, b| error(a).total_cmp(&error(b)).then(a.len().cmp(&b.len())))
        .unwrap_or_default();
    let is_exact = nearest.parse() == Ok(value);
    (nearest, is_exact)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// JSON that is now and then an element's value.
    fn some_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 3, |inner| {
            let list = prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from);
            let object =
                prop::collection::btree_map("vr|Value|Alphabetic|InlineBinary|00080060", inner, 0..3);
            prop_oneof![list, object.prop_map(|object| Value::Object(object.into_iter().collect()))]
        })
    }

    proptest! {
        #[test]
        fn no_element_panics(
            vr in "AT|CS|DS|FD|FL|IS|LO|OB|OW|PN|SQ|SS|SV|UI|UL|UN|US|UV|XX",
            key in "Value|InlineBinary|BulkDataURI|other",
            value in some_json(),
        ) {
            let element = Value::Object(Map::from_iter([("vr".to_owned(), vr.into()), (key, value)]));
            let tag = Tag(0x0009, 0x1001);
            let _ = super::vr(tag, &element).and_then(|vr| decode(tag, vr, element.clone()));
            let _ = inline_binary(tag, &element);
        }
    }

    #[test]
    fn decimals_fit_their_sixteen_characters() {
        for (number, expected, exact) in [
            ("40", "40", true),
            ("0.75", "0.75", true),
            ("-1.5e-7", "-1.5e-7", true),
            ("0.30000000000000004", "0.30000000000000", false),
            ("-123.45678901234567", "-123.45678901235", false),
            ("1.2345678901234567e-20", "1.2345678901e-20", false),
            ("100000000000000000000", "1e20", true),
        ] {
            let number: serde_json::Number = serde_json::from_str(number).unwrap();
            let (text, is_exact) = decimal_string(&number);
            assert!(text.len() <= DS_LENGTH, "{text}");
            let (read, wanted): (f64, f64) = (text.parse().unwrap(), expected.parse().unwrap());
            assert_eq!((read, is_exact), (wanted, exact), "{number}");
        }
    }
}
