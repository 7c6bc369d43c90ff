//! Query strings and the names of attributes in them.

use dicom_core::Tag;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::StandardDataDictionary;
use percent_encoding::percent_decode_str;

use crate::error::{BadQuerySnafu, Result};

/// Longest path of tags into nested sequences.
const MAX_DEPTH: usize = 8;

/// The `name=value` pairs of a query string, decoded. `+` stands for a space, as browsers and Python write it.
pub fn pairs(query: &str) -> Result<Vec<(String, String)>> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

fn decode(text: &str) -> Result<String> {
    let text = text.replace('+', " ");
    match percent_decode_str(&text).decode_utf8() {
        Ok(decoded) => Ok(decoded.into_owned()),
        Err(_) => BadQuerySnafu { message: format!("`{text}` is not percent-encoded UTF-8") }.fail(),
    }
}

/// The first value of a parameter.
pub fn value_of<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// Reads `true` or `false` (an empty value counts as true, as in `?partial`).
pub fn flag(name: &str, value: &str) -> Result<bool> {
    match value {
        "true" | "1" | "" => Ok(true),
        "false" | "0" => Ok(false),
        _ => BadQuerySnafu { message: format!("`{name}` must be true or false, not `{value}`") }.fail(),
    }
}

/// Reads a count.
pub fn count(name: &str, value: &str) -> Result<usize> {
    match value.parse::<u32>() {
        Ok(number) => Ok(number as usize),
        Err(_) => BadQuerySnafu { message: format!("`{name}` must be a whole number, not `{value}`") }.fail(),
    }
}

/// PS3.18 8.3.4.1: an attribute as keyword or eight hexadecimal digits, dotted where it is inside a sequence.
/// Unknown keywords and tags are refused; so is anything in a private group, which no search can know.
///
/// <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_8.3.4.1>
pub fn attribute(text: &str) -> Result<Vec<Tag>> {
    let path: Option<Vec<Tag>> = text.split('.').take(MAX_DEPTH + 1).map(tag).collect();
    match path {
        Some(path) if path.len() <= MAX_DEPTH => Ok(path),
        _ => BadQuerySnafu {
            message: format!("`{text}` is neither a keyword nor a tag of the DICOM data dictionary"),
        }
        .fail(),
    }
}

fn tag(text: &str) -> Option<Tag> {
    let hexadecimal = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match hexadecimal {
        true => {
            let number = u32::from_str_radix(text, 16).ok()?;
            let tag = Tag((number >> 16) as u16, (number & 0xffff) as u16);
            StandardDataDictionary.by_tag(tag).map(|_| tag)
        }
        false => StandardDataDictionary.by_name(text).map(|entry| entry.tag()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_dictionary_std::tags;
    use proptest::prelude::*;

    #[test]
    fn pairs_are_decoded() {
        let read = pairs("PatientName=Doe%5EJ*&a+b=c%2Bd&&empty=&bare").unwrap();
        let expected = [("PatientName", "Doe^J*"), ("a b", "c+d"), ("empty", ""), ("bare", "")];
        assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(pairs("a=%FF").is_err());
    }

    #[test]
    fn attributes_by_keyword_tag_and_path() {
        for (text, path) in [
            ("PatientID", vec![tags::PATIENT_ID]),
            ("00100020", vec![tags::PATIENT_ID]),
            ("0020000d", vec![tags::STUDY_INSTANCE_UID]),
            (
                "00400275.ScheduledProcedureStepID",
                vec![tags::REQUEST_ATTRIBUTES_SEQUENCE, tags::SCHEDULED_PROCEDURE_STEP_ID],
            ),
        ] {
            assert_eq!(attribute(text).unwrap(), path, "{text}");
        }
        for text in
            ["", "NotAnAttribute", "patientid", "0010002", "99999999", "PatientID.", "a.b.c.d.e.f.g.h.i"]
        {
            assert!(attribute(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_query_panics(text in ".{0,120}") {
            let _ = pairs(&text);
            let _ = attribute(&text);
        }
    }
}
