//! When a rule is about a series.

use std::collections::BTreeMap;

use dicom_core::Tag;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::StandardDataDictionary;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::pattern::glob;
use crate::{Facts, RegexPattern, Source};

/// Holds where everything in it holds; empty, it always does. Beside the keys named here, each key is an attribute by
/// its keyword, or by its tag as eight hexadecimal digits, and its value a [`Test`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Condition {
    /// Each of these holds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(no_recursion)]
    pub all: Vec<Condition>,
    /// At least one of these holds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(no_recursion)]
    pub any: Vec<Condition>,
    /// This does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(no_recursion)]
    pub not: Option<Box<Condition>>,
    /// Its slices are so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slices: Option<Range>,
    /// By which door its study came in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The AE title that sent its study.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calling_ae_title: Option<Test>,
    /// Attributes by keyword or tag.
    #[serde(flatten)]
    pub attributes: BTreeMap<String, Test>,
}

/// What a value must be like; where there are several values, one of them. An absent one is an empty text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "a pattern, a list of patterns, or a table of `regex`, `min`, `max` and `present`"
)]
pub enum Test {
    /// A text, with `*` and `?` as wildcards; letters match in either case.
    Glob(String),
    /// One of these texts.
    OneOf(Vec<String>),
    /// Something else.
    Comparison(Comparison),
}

/// What a value must be like; everything given holds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Comparison {
    /// A regular expression, found anywhere in the text unless anchored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub regex: Option<RegexPattern>,
    /// A number, no less than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// A number, no more than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Whether there is a value at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
}

/// A number of slices, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Range {
    /// No fewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<u64>,
    /// No more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
}

/// Whether a condition holds, as far as can be told (Kleene's three values; smaller is falser).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    No,
    Unknown,
    Yes,
}

impl From<bool> for Verdict {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

impl std::ops::Not for Verdict {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
            Self::Yes => Self::No,
        }
    }
}

impl Condition {
    pub(crate) fn judge(&self, facts: &Facts<'_>) -> Verdict {
        let all = self.all.iter().map(|condition| condition.judge(facts));
        let any = self.any.iter().map(|condition| condition.judge(facts)).max();
        let not = self.not.iter().map(|condition| !condition.judge(facts));
        let slices = self.slices.iter().map(|range| range.takes(facts.slices).into());
        let attributes =
            self.attributes.iter().map(|(name, test)| test.takes(&values(facts.attributes, name)).into());
        let everything = all.chain(any).chain(not).chain(slices).chain(attributes);
        everything.chain(self.judge_origin(facts)).min().unwrap_or(Verdict::Yes)
    }

    fn judge_origin(&self, facts: &Facts<'_>) -> Option<Verdict> {
        if self.source.is_none() && self.calling_ae_title.is_none() {
            return None;
        }
        let Some(origin) = facts.origin else { return Some(Verdict::Unknown) };
        let title = origin.calling_ae_title.clone().into_iter().collect::<Vec<_>>();
        let same_source = self.source.is_none_or(|source| source == origin.source);
        let same_title = self.calling_ae_title.as_ref().is_none_or(|test| test.takes(&title));
        Some((same_source && same_title).into())
    }

    /// Itself and the conditions in it.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Condition> {
        self.all.iter().chain(&self.any).chain(self.not.as_deref())
    }
}

impl Test {
    fn takes(&self, values: &[String]) -> bool {
        let holds = |test: &dyn Fn(&str) -> bool| match values {
            [] => test(""),
            values => values.iter().any(|value| test(value)),
        };
        match self {
            Self::Glob(pattern) => holds(&|value| glob(pattern, value)),
            Self::OneOf(patterns) => holds(&|value| patterns.iter().any(|pattern| glob(pattern, value))),
            Self::Comparison(comparison) => {
                let is_there = values.iter().any(|value| !value.is_empty());
                comparison.present.is_none_or(|wanted| wanted == is_there)
                    && holds(&|value| comparison.takes(value))
            }
        }
    }
}

impl Comparison {
    fn takes(&self, value: &str) -> bool {
        let number = value.trim().parse::<f64>().ok();
        let compares = |bound: Option<f64>, holds: fn(f64, f64) -> bool| {
            bound.is_none_or(|bound| number.is_some_and(|number| holds(number, bound)))
        };
        self.regex.as_ref().is_none_or(|regex| regex.matches(value))
            && compares(self.min, |number, min| number >= min)
            && compares(self.max, |number, max| number <= max)
    }
}

impl Range {
    fn takes(&self, number: u64) -> bool {
        self.min.is_none_or(|min| number >= min) && self.max.is_none_or(|max| number <= max)
    }
}

/// The attribute of that keyword, or of that tag as eight hexadecimal digits.
pub(crate) fn tag(name: &str) -> Option<Tag> {
    if let Some(entry) = StandardDataDictionary.by_name(name) {
        return Some(entry.tag());
    }
    let is_tag = name.len() == 8 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digits = is_tag.then(|| u32::from_str_radix(name, 16).ok()).flatten()?;
    Some(Tag((digits >> 16) as u16, digits as u16))
}

/// The values of an attribute as text; of a person name its alphabetic form.
fn values(attributes: &Map<String, Value>, name: &str) -> Vec<String> {
    let element =
        tag(name).and_then(|tag| attributes.get(&format!("{:04X}{:04X}", tag.group(), tag.element())));
    let values = element.and_then(|element| element.get("Value")).and_then(Value::as_array);
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Object(name) => name.get("Alphabetic").and_then(Value::as_str).map(str::to_owned),
        _ => None,
    };
    values.into_iter().flatten().filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Origin;
    use serde_json::json;

    fn condition(text: &str) -> Condition {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn each_kind_of_test_holds_where_it_should() {
        let series = json!({
            "00080060": {"vr": "CS", "Value": ["MR"]},
            "00080008": {"vr": "CS", "Value": ["ORIGINAL", "PRIMARY"]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]},
            "00180050": {"vr": "DS", "Value": [4.5]},
            "0008103E": {"vr": "LO", "Value": ["T2 axial liver"]},
            "00091001": {"vr": "LO", "Value": ["private"]},
            "00081030": {"vr": "LO"},
        });
        let origin = Origin { source: Source::Dimse, calling_ae_title: Some("MR_7".into()) };
        let facts = Facts { attributes: series.as_object().unwrap(), slices: 36, origin: Some(&origin) };
        for (text, expected) in [
            ("", true),
            ("Modality = 'mr'", true),
            ("Modality = ['CT', 'M?']", true),
            ("Modality = 'CT'", false),
            ("ImageType = 'PRIMARY'", true),
            ("PatientName = 'DOE*'", true),
            ("SliceThickness = { max = 5, min = 4.5 }", true),
            ("SliceThickness = { max = 4 }", false),
            ("SeriesDescription = { regex = 'T[12] ax' }", true),
            ("SeriesDescription = { regex = '^ax' }", false),
            ("StudyDescription = ''", true),
            ("StudyDescription = { present = false }", true),
            ("BodyPartExamined = { present = true }", false),
            ("BodyPartExamined = { max = 4 }", false),
            ("00091001 = 'priv*'", true),
            ("slices = { min = 8, max = 36 }", true),
            ("slices = { min = 37 }", false),
            ("source = 'dimse'\ncalling_ae_title = 'mr_*'", true),
            ("source = 'dicomweb'", false),
            ("not = { Modality = 'CT' }", true),
            ("any = [{ Modality = 'CT' }, { Modality = 'MR' }]", true),
            ("any = [{ Modality = 'CT' }]", false),
            ("all = [{ Modality = 'MR' }, { slices = { max = 8 } }]", false),
            (
                "Modality = 'MR'\nnot = { any = [{ SeriesDescription = '*cor*' }, { slices = { max = 3 } }] }",
                true,
            ),
        ] {
            assert_eq!(condition(text).judge(&facts), expected.into(), "{text}");
        }
    }

    #[test]
    fn what_nobody_knows_decides_only_where_it_must() {
        let facts = Facts { attributes: &Map::new(), slices: 1, origin: None };
        for (text, expected) in [
            ("source = 'dimse'", Verdict::Unknown),
            ("not = { source = 'dimse' }", Verdict::Unknown),
            ("source = 'dimse'\nslices = { min = 2 }", Verdict::No),
            ("any = [{ source = 'dimse' }, { slices = { max = 1 } }]", Verdict::Yes),
        ] {
            assert_eq!(condition(text).judge(&facts), expected, "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let text = "Modality = ['MR']\nslices = { min = 8 }\nnot = { Rows = { max = 64.0 } }";
        let read = condition(text);
        assert_eq!(serde_json::from_value::<Condition>(serde_json::to_value(&read).unwrap()).unwrap(), read);
    }
}
