//! Data sets in the DICOM JSON model (PS3.18 Annex F): reading, making and checking them.

use dicom_core::Tag;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use serde_json::{Map, Value, json};

/// A data set: tags, as eight hexadecimal digits in upper case, to attributes.
pub type Attributes = Map<String, Value>;

/// How deep sequences may nest.
pub const MAX_DEPTH: usize = 16;

/// How the model names an attribute.
pub fn key(tag: Tag) -> String {
    format!("{:04X}{:04X}", tag.group(), tag.element())
}

/// An attribute with values, of the VR that the dictionary gives it.
pub fn element(tag: Tag, values: Vec<Value>) -> Value {
    match values.is_empty() {
        true => json!({ "vr": vr(tag) }),
        false => json!({ "vr": vr(tag), "Value": values }),
    }
}

/// An attribute without a value.
pub fn empty(tag: Tag) -> Value {
    element(tag, vec![])
}

/// An item with a code (PS3.3 Table 8.8-1).
pub fn code(value: &str, scheme: &str, meaning: &str) -> Value {
    let text = |tag, text: &str| (key(tag), element(tag, vec![text.into()]));
    let attributes = [
        text(tags::CODE_VALUE, value),
        text(tags::CODING_SCHEME_DESIGNATOR, scheme),
        text(tags::CODE_MEANING, meaning),
    ];
    Value::Object(attributes.into_iter().collect())
}

/// The first value of an attribute, where that is text and not empty.
pub fn text(attributes: &Attributes, tag: Tag) -> Option<&str> {
    let first = values(attributes, tag).first()?.as_str()?.trim();
    (!first.is_empty()).then_some(first)
}

/// The items of a sequence.
pub fn items(attributes: &Attributes, tag: Tag) -> impl Iterator<Item = &Attributes> {
    values(attributes, tag).iter().filter_map(Value::as_object)
}

/// The data set with its attributes in ascending order at every level, as PS3.18 F.2.2 asks of what is sent.
pub(crate) fn sorted(mut attributes: Attributes) -> Attributes {
    attributes.values_mut().for_each(Value::sort_all_objects);
    attributes.sort_keys();
    attributes
}

pub(crate) fn has_value(attributes: &Attributes, tag: Tag) -> bool {
    values(attributes, tag).iter().any(|value| !value.is_null() && value.as_str() != Some(""))
}

fn values(attributes: &Attributes, tag: Tag) -> &[Value] {
    let element = attributes.get(&key(tag));
    element.and_then(|element| element.get("Value")?.as_array()).map(Vec::as_slice).unwrap_or_default()
}

fn vr(tag: Tag) -> &'static str {
    StandardDataDictionary.by_tag(tag).map_or("LO", |entry| entry.vr().relaxed().to_string())
}

/// The data set with its tags in upper case.
///
/// # Errors
/// In words, where it is no data set of the DICOM JSON model, or refers to bulk data, which nobody could fetch.
pub(crate) fn checked(attributes: Attributes) -> Result<Attributes, String> {
    checked_at(attributes, 0)
}

fn checked_at(attributes: Attributes, depth: usize) -> Result<Attributes, String> {
    if depth > MAX_DEPTH {
        return Err(format!("sequences nest deeper than {MAX_DEPTH}"));
    }
    attributes.into_iter().map(|(name, element)| checked_element(&name, element, depth)).collect()
}

fn checked_element(name: &str, element: Value, depth: usize) -> Result<(String, Value), String> {
    let is_tag = name.len() == 8 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let Value::Object(mut element) = element else {
        return Err(format!("`{name}` is no attribute: it is no JSON object"));
    };
    let has_vr = element.get("vr").and_then(Value::as_str).is_some_and(is_vr);
    if !is_tag || !has_vr {
        return Err(format!("`{name}` is no attribute: it needs eight hexadecimal digits and a `vr`"));
    }
    if element.contains_key("BulkDataURI") {
        return Err(format!("`{name}` refers to bulk data"));
    }
    let Some(values) = element.remove("Value") else {
        return Ok((name.to_ascii_uppercase(), element.into()));
    };
    let Value::Array(values) = values else { return Err(format!("the `Value` of `{name}` is no array")) };
    let is_sequence = element.get("vr").and_then(Value::as_str) == Some("SQ");
    let values: Result<Vec<Value>, String> = values
        .into_iter()
        .map(|value| match value {
            Value::Object(item) if is_sequence => checked_at(item, depth + 1).map(Value::Object),
            Value::Null | Value::Object(_) if is_sequence => Ok(Value::Object(Attributes::new())),
            _ if is_sequence => Err(format!("an item of `{name}` is no JSON object")),
            Value::Array(_) => Err(format!("a value of `{name}` is an array")),
            value => Ok(value),
        })
        .collect();
    let values = values?;
    if !values.is_empty() {
        element.insert("Value".to_owned(), values.into());
    }
    Ok((name.to_ascii_uppercase(), element.into()))
}

fn is_vr(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(json: Value) -> Result<Attributes, String> {
        checked(json.as_object().unwrap().clone())
    }

    #[test]
    fn what_is_no_data_set_is_told() {
        for (wrong, word) in [
            (json!({"0040400": {"vr": "LO"}}), "hexadecimal"),
            (json!({"00404005": {"Value": ["x"]}}), "vr"),
            (json!({"00404005": ["x"]}), "object"),
            (json!({"00404005": {"vr": "DT", "Value": "x"}}), "array"),
            (json!({"00404021": {"vr": "SQ", "Value": ["x"]}}), "item"),
            (json!({"00404021": {"vr": "SQ", "Value": [{"x": 1}]}}), "attribute"),
            (json!({"00404005": {"vr": "OB", "BulkDataURI": "x"}}), "bulk"),
        ] {
            let problem = check(wrong).unwrap_err();
            assert!(problem.contains(word), "{problem}");
        }
        let right = check(json!({"0040a043": {"vr": "SQ", "Value": [{"0040a160": {"vr": "UT"}}]}})).unwrap();
        let expected = json!({"0040A043": {"vr": "SQ", "Value": [{"0040A160": {"vr": "UT"}}]}});
        assert_eq!(Value::from(right), expected);
    }

    #[test]
    fn sequences_nest_only_so_deep() {
        let mut deep = json!({"00404005": {"vr": "DT"}});
        for _ in 0..=MAX_DEPTH {
            deep = json!({"00404021": {"vr": "SQ", "Value": [deep]}});
        }
        assert!(check(deep.clone()).is_err());
        let inner = deep["00404021"]["Value"][0].clone();
        assert!(check(inner).is_ok());
    }

    /// JSON of any form.
    fn anything() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
            Just(Value::from("SQ")),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let names =
                prop_oneof!["[0-9A-Fa-f]{8}", Just("vr".to_owned()), Just("Value".to_owned()), "\\PC{0,8}"];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((names, inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_json_panics_and_what_is_checked_stays_as_it_is(json in anything()) {
            let Value::Object(object) = json else { return Ok(()) };
            if let Ok(once) = checked(object) {
                prop_assert_eq!(checked(once.clone()), Ok(once));
            }
        }
    }
}
