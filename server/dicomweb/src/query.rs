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
            Ok((
                decode(name)?,
                if is_of_media_types(name) { decode_media_types(value) } else { decode(value) }?,
            ))
        })
        .collect()
}

fn is_of_media_types(name: &str) -> bool {
    matches!(name, "accept" | "contentType")
}

/// A `+` within a word is that of a media type, such as `application/dicom+xml`, which people write as it is.
fn decode_media_types(text: &str) -> Result<String> {
    let is_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let kept = text.char_indices().map(|(at, character)| {
        let within =
            is_word(at.checked_sub(1).and_then(|before| bytes.get(before))) && is_word(bytes.get(at + 1));
        if character == '+' && !within { ' ' } else { character }
    });
    percent_decoded(&kept.collect::<String>())
}

fn decode(text: &str) -> Result<String> {
    percent_decoded(&text.replace('+', " "))
}

fn percent_decoded(text: &str) -> Result<String> {
    match percent_decode_str(text).decode_utf8() {
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

/// Refuses a character set that answers do not come in (PS3.18 8.3.3.2): all are UTF-8.
pub fn utf_8(charset: &str) -> Result<()> {
    match charset.trim_matches('"').to_ascii_lowercase().as_str() {
        "" | "utf-8" | "utf8" | "us-ascii" | "iso_ir 192" => Ok(()),
        _ => BadQuerySnafu { message: format!("answers come in UTF-8 only, not in `{charset}`") }.fail(),
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
/// Unknown keywords and tags are refused, but for those of private elements, which no dictionary has.
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
            (is_private(tag) || StandardDataDictionary.by_tag(tag).is_some()).then_some(tag)
        }
        false => StandardDataDictionary.by_name(text).map(|entry| entry.tag()),
    }
}

/// Whether it is a private element, or reserves a block for some (PS3.5 section 7.8.1).
fn is_private(tag: Tag) -> bool {
    tag.group() % 2 == 1 && (0x0009..0xFFFF).contains(&tag.group()) && tag.element() >= 0x0010
}

/// The element that says whose a private one is.
pub fn private_creator(tag: Tag) -> Option<Tag> {
    let block = tag.element() >> 8;
    (is_private(tag) && block >= 0x10).then(|| Tag(tag.group(), block))
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
        for text in [
            "accept=multipart/related;+type=application/dicom+xml",
            "accept=multipart/related;%20type=application/dicom%2Bxml",
        ] {
            let read = pairs(text).unwrap();
            assert_eq!(value_of(&read, "accept"), Some("multipart/related; type=application/dicom+xml"));
        }
    }

    #[test]
    fn attributes_by_keyword_tag_and_path() {
        for (text, path) in [
            ("PatientID", vec![tags::PATIENT_ID]),
            ("00100020", vec![tags::PATIENT_ID]),
            ("0020000d", vec![tags::STUDY_INSTANCE_UID]),
            ("00091001", vec![Tag(0x0009, 0x1001)]),
            (
                "00400275.ScheduledProcedureStepID",
                vec![tags::REQUEST_ATTRIBUTES_SEQUENCE, tags::SCHEDULED_PROCEDURE_STEP_ID],
            ),
        ] {
            assert_eq!(attribute(text).unwrap(), path, "{text}");
        }
        for text in [
            "",
            "NotAnAttribute",
            "patientid",
            "0010002",
            "00089999",
            "00071001",
            "PatientID.",
            "a.b.c.d.e.f.g.h.i",
        ] {
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
