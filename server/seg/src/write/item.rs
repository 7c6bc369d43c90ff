//! Putting attributes into datasets, as the standard's tables list them.

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, Length, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use crate::Code;

/// Dataset building that reads as the standard's tables do.
pub trait Put {
    /// An attribute with its value.
    fn put_value(&mut self, tag: Tag, vr: VR, value: impl Into<PrimitiveValue>);
    /// A sequence.
    fn put_items(&mut self, tag: Tag, items: Vec<InMemDicomObject>);
    /// A sequence of one code.
    fn put_code(&mut self, tag: Tag, code: &Code);

    /// A Type 2 attribute without value, unless there is one already.
    fn put_empty(&mut self, tag: Tag, vr: VR);
}

impl Put for InMemDicomObject {
    fn put_value(&mut self, tag: Tag, vr: VR, value: impl Into<PrimitiveValue>) {
        self.put(DataElement::new(tag, vr, value.into()));
    }

    fn put_items(&mut self, tag: Tag, items: Vec<InMemDicomObject>) {
        self.put(DataElement::new(tag, VR::SQ, DataSetSequence::new(items, Length::UNDEFINED)));
    }

    fn put_code(&mut self, tag: Tag, code: &Code) {
        self.put_items(tag, vec![code_item(code)]);
    }

    fn put_empty(&mut self, tag: Tag, vr: VR) {
        if self.get(tag).is_none() {
            self.put_value(tag, vr, PrimitiveValue::Empty);
        }
    }
}

/// Code Sequence Macro (PS3.3 8.8). SNOMED-RT codes, which are retired, are written as their SNOMED CT equals.
pub fn code_item(code: &Code) -> InMemDicomObject {
    let mut item = InMemDicomObject::new_empty();
    let (scheme, value) = code.canonical();
    let is_urn = value.starts_with("urn:") || value.contains("://");
    match value.chars().count() {
        _ if is_urn => item.put_value(tags::URN_CODE_VALUE, VR::UR, value),
        0..=16 => item.put_value(tags::CODE_VALUE, VR::SH, value),
        _ => item.put_value(tags::LONG_CODE_VALUE, VR::UC, value),
    }
    item.put_value(tags::CODING_SCHEME_DESIGNATOR, VR::SH, clipped(scheme, 16));
    // CodeMeaning is Type 1: a concept known by its key alone has none.
    let meaning = if code.meaning.is_empty() { value } else { &code.meaning };
    item.put_value(tags::CODE_MEANING, VR::LO, line(meaning));
    item
}

/// Text as a single LO value: at most 64 characters, no backslash or control characters.
pub fn line(text: &str) -> String {
    clipped(text, 64)
}

/// Text as a single value of a VR that holds so many characters.
pub fn clipped(text: &str, characters: usize) -> String {
    let allowed = |c: char| if c == '\\' || c.is_control() { ' ' } else { c };
    text.trim().chars().map(allowed).take(characters).collect::<String>().trim_end().to_owned()
}

/// A decimal string (DS): the shortest text that gives the number back, or as many digits as fit in 16 characters.
pub fn decimal(value: f64) -> String {
    let shortest = format!("{value}");
    if shortest.len() <= 16 {
        return shortest;
    }
    (0..=16)
        .rev()
        .map(|digits| format!("{value:.digits$}"))
        .find(|text| text.len() <= 16 && value.abs() >= 1e-4)
        .or_else(|| (0..=16).rev().map(|digits| format!("{value:.digits$e}")).find(|text| text.len() <= 16))
        .unwrap_or_else(|| "0".to_owned())
}

/// Several decimal strings.
pub fn decimals(values: &[f64]) -> PrimitiveValue {
    PrimitiveValue::Strs(values.iter().map(|value| decimal(*value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_fit() {
        let cases = [
            (0.0, "0"),
            (-177.75, "-177.75"),
            (0.1 + 0.2, "0.30000000000000"),
            (-1.0 / 3.0, "-0.3333333333333"),
            (1.0e-12 / 3.0, "3.3333333333e-13"),
        ];
        for (value, expected) in cases {
            assert_eq!(decimal(value), expected);
        }
    }

    proptest! {
        #[test]
        fn decimals_come_back_within_their_digits(value in -1e6f64..1e6) {
            let text = decimal(value);
            prop_assert!(text.len() <= 16);
            prop_assert!((text.parse::<f64>().unwrap() - value).abs() <= 1e-7);
        }
    }
}
