//! Whether an element matches a key (PS3.4 section C.2.2.2, PS3.18 section 8.3.4.1).

use super::{moment::Moment, name::NameKey};
use crate::model;
use dicom_core::VR;
use serde_json::Value;
use std::str::Chars;

/// How keys are read beyond what their VRs say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Person names match by the beginnings of their words.
    pub fuzzy: bool,
    /// `""` matches what is empty or absent.
    pub empty: bool,
    /// Of several values, all must match.
    pub multiple: bool,
}

/// A key's value, read as its attribute's VR demands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Matcher {
    /// An empty key matches everything (C.2.2.2.3), and so does `*` where it is a wildcard (C.2.2.2.4).
    Universal,
    /// `""` matches an attribute that is empty or absent (C.2.2.2.7).
    Empty,
    /// Any of these, wildcards allowed.
    AnyOf { patterns: Vec<String>, wildcards: bool },
    /// Each of these matches one of the values (C.2.2.2.8).
    AllOf(Vec<Matcher>),
    /// A person name.
    Name(NameKey),
    /// The beginnings of words of a person name, in lower case.
    Fuzzy(Vec<String>),
    /// A date or time, or a range of them.
    Moment(Moment),
    /// A number.
    Number(f64),
}

impl Matcher {
    /// Reads a key; where it does not read, why.
    pub(crate) fn new(vr: VR, value: &str, rules: Rules) -> Result<Self, &'static str> {
        if value.is_empty() {
            return Ok(Matcher::Universal);
        }
        if value == "\"\"" && rules.empty {
            return Ok(Matcher::Empty);
        }
        if rules.multiple && value.contains('\\') && has_multiple_value_matching(vr) {
            let single = |value: &str| match vr {
                VR::PN => Matcher::Name(NameKey::new(value)),
                _ => any_of([value], false),
            };
            return Ok(Matcher::AllOf(value.split('\\').map(single).collect()));
        }
        Ok(match vr {
            VR::DA | VR::TM | VR::DT => Matcher::Moment(Moment::read(vr, value)?),
            VR::PN if value == "*" => Matcher::Universal,
            VR::PN if rules.fuzzy => Matcher::Fuzzy(words(value).collect()),
            VR::PN => Matcher::Name(NameKey::new(value)),
            VR::UI => any_of(value.split([',', '\\']).map(str::trim), false),
            vr if is_number(vr) => match value.trim().parse() {
                Ok(number) => Matcher::Number(number),
                Err(_) => any_of([value], false),
            },
            _ if value == "*" => Matcher::Universal,
            // No code string holds a comma, and viewers write lists of modalities with it.
            VR::CS => any_of(value.split(['\\', ',']).map(str::trim), true),
            _ => any_of([value], true),
        })
    }

    /// Whether an attribute that is not there matches.
    pub(crate) fn takes_absent(&self) -> bool {
        matches!(self, Matcher::Universal | Matcher::Empty)
    }

    /// Whether any value of the element matches.
    pub(crate) fn takes(&self, element: &Value) -> bool {
        let values = model::values(element);
        match self {
            Matcher::Universal => true,
            Matcher::Empty => values.iter().all(Value::is_null),
            Matcher::AllOf(each) => each.iter().all(|matcher| matcher.takes(element)),
            Matcher::Name(key) => values.iter().any(|value| key.takes(value)),
            _ => values.iter().filter_map(model::text).any(|text| self.takes_text(&text)),
        }
    }

    /// Whether this text, alone, is a value that matches.
    pub(crate) fn takes_text(&self, text: &str) -> bool {
        match self {
            Matcher::Universal => true,
            Matcher::Empty => text.is_empty(),
            Matcher::AnyOf { patterns, wildcards } => {
                patterns.iter().any(|pattern| if *wildcards { like(pattern, text) } else { pattern == text })
            }
            Matcher::AllOf(each) => each.iter().all(|matcher| matcher.takes_text(text)),
            Matcher::Name(key) => key.takes(&text.into()),
            Matcher::Fuzzy(wanted) => {
                let words: Vec<String> = words(text).collect();
                wanted.iter().all(|want| words.iter().any(|word| word.starts_with(want)))
            }
            Matcher::Moment(moment) => moment.takes(text),
            Matcher::Number(number) => text.trim().parse() == Ok(*number),
        }
    }
}

/// Whether values of the VR are numbers.
pub(super) fn is_number(vr: VR) -> bool {
    use VR::*;
    matches!(vr, IS | DS | FL | FD | SL | SS | SV | UL | US | UV)
}

/// The VRs that C.2.2.2.8 names.
fn has_multiple_value_matching(vr: VR) -> bool {
    matches!(vr, VR::AE | VR::AS | VR::AT | VR::CS | VR::LO | VR::PN | VR::SH | VR::UC)
}

fn any_of<'v>(patterns: impl IntoIterator<Item = &'v str>, wildcards: bool) -> Matcher {
    Matcher::AnyOf { patterns: patterns.into_iter().map(str::to_owned).collect(), wildcards }
}

/// The words of a person name, in lower case.
pub(super) fn words(name: &str) -> impl Iterator<Item = String> + '_ {
    name.split(|character: char| !character.is_alphanumeric() && character != '\'')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

/// Whether `text` is like `pattern`, in which `*` stands for any characters and `?` for one. Linear in the
/// product of the lengths, so that no pattern takes long.
pub(super) fn like(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // What follows the last star, and the text from where that was tried.
    let mut star: Option<(Chars, Chars)> = None;
    loop {
        let before = text.clone();
        match (pattern.next(), text.next()) {
            (Some('*'), _) => {
                star = Some((pattern.clone(), before.clone()));
                text = before;
            }
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {}
            (None, None) => return true,
            _ => {
                let Some((after, mut from)) = star else { return false };
                if from.next().is_none() {
                    return false;
                }
                (pattern, text) = (after.clone(), from.clone());
                star = Some((after, from));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn matcher(vr: VR, key: &str) -> Matcher {
        Matcher::new(vr, key, Rules::default()).unwrap()
    }

    #[test]
    fn keys_match_as_the_standard_says() {
        let cases = [
            (VR::LO, "", json!("x"), true),
            (VR::LO, "*", json!("x"), true),
            (VR::LO, "Head*", json!("Head CT"), true),
            (VR::LO, "head*", json!("Head CT"), false),
            (VR::LO, "H??d", json!("Head"), true),
            (VR::LO, "H?d", json!("Head"), false),
            (VR::LO, "\"\"", json!("x"), false),
            (VR::UI, "1.2.*", json!("1.2.3"), false),
            (VR::UI, "1.2.4,1.2.3", json!("1.2.3"), true),
            (VR::UI, "1.2.4\\1.2.3", json!("1.2.3"), true),
            (VR::CS, "CT\\MR", json!("MR"), true),
            (VR::CS, "CT,M*", json!("MR"), true),
            (VR::CS, "CT,PT", json!("MR"), false),
            (VR::DA, "20200131", json!("20200131"), true),
            (VR::DA, "20200101-20200131", json!("20200131"), true),
            (VR::DA, "20200101-", json!("20191231"), false),
            (VR::DA, "-20200101", json!("20191231"), true),
            (VR::DA, "-20200101", json!("20200102"), false),
            (VR::DA, "20200101-20200131", json!("2020.01.15"), true),
            (VR::TM, "10", json!("103000.123"), true),
            (VR::TM, "1000-1030", json!("103059"), true),
            (VR::TM, "1000-1030", json!("103100"), false),
            (VR::TM, "1000-1030", json!("10"), true),
            (VR::DT, "20200101120000-0500", json!("20200101120000"), true),
            (VR::DT, "20200101-20200102", json!("20200101235959.5-0500"), true),
            (VR::PN, "doe^john", json!({"Alphabetic": "Doe^John"}), true),
            (VR::PN, "*", json!({"Phonetic": "x"}), true),
            (VR::IS, "7", json!(7), true),
            (VR::DS, "0.50", json!(0.5), true),
            (VR::US, "7", json!(8), false),
        ];
        for (vr, key, value, expected) in cases {
            let element = json!({"vr": vr.to_string(), "Value": [value]});
            assert_eq!(matcher(vr, key).takes(&element), expected, "{vr:?} {key} {value}");
        }
    }

    #[test]
    fn fuzzy_names_match_by_the_beginnings_of_words() {
        let element = json!({"vr": "PN", "Value": [{"Alphabetic": "BENCH^Case003"}]});
        let rules = Rules { fuzzy: true, ..Rules::default() };
        for (key, expected) in [("case003", true), ("bench case", true), ("ench", false), ("case004", false)]
        {
            assert_eq!(Matcher::new(VR::PN, key, rules).unwrap().takes(&element), expected, "{key}");
        }
    }

    #[test]
    fn emptiness_is_matched_where_that_is_asked_for() {
        let empty = Matcher::new(VR::DA, "\"\"", Rules { empty: true, ..Rules::default() }).unwrap();
        assert!(empty.takes(&json!({"vr": "DA"})) && empty.takes_absent());
        assert!(!empty.takes(&json!({"vr": "DA", "Value": ["20200101"]})));
        assert!(!matcher(VR::LO, "x").takes_absent());
    }

    #[test]
    fn several_values_are_all_there_where_that_is_asked_for() {
        let rules = Rules { multiple: true, ..Rules::default() };
        let element = json!({"vr": "CS", "Value": ["MR", "CT", "SEG"]});
        for (key, expected) in [("CT\\MR", true), ("CT\\PT", false), ("C*\\MR", false), ("C*", true)] {
            assert_eq!(Matcher::new(VR::CS, key, rules).unwrap().takes(&element), expected, "{key}");
        }
    }

    proptest! {
        #[test]
        fn no_key_makes_it_panic(key in "\\PC{0,30}", text in "\\PC{0,30}", flags in any::<[bool; 3]>()) {
            let [fuzzy, empty, multiple] = flags;
            let element = json!({"vr": "LO", "Value": [text, null, {"Alphabetic": text}]});
            for vr in [VR::PN, VR::DA, VR::TM, VR::DT, VR::UI, VR::LO, VR::IS, VR::CS] {
                let matcher = Matcher::new(vr, &key, Rules { fuzzy, empty, multiple });
                let _taken = matcher.map(|matcher| matcher.takes(&element));
            }
        }

        #[test]
        fn text_is_like_itself_and_like_stars(text in "[a-z]{0,20}", cut in 0usize..20) {
            let cut = cut.min(text.len());
            prop_assert!(like(&text, &text));
            prop_assert!(like("*", &text));
            let starred = format!("{}*", &text[..cut]);
            let questioned = "?".repeat(text.len());
            prop_assert!(like(&starred, &text));
            prop_assert!(like(&questioned, &text));
        }
    }
}
