//! Whether an element matches a key (PS3.4 section C.2.2.2, PS3.18 section 8.3.4.1).

use crate::model;
use dicom_core::VR;
use serde_json::Value;

/// A key's value, read as its attribute's VR demands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Matcher {
    /// An empty key matches everything (C.2.2.2.3).
    Universal,
    /// `""` matches an attribute that is empty or absent (C.2.2.2.7).
    Empty,
    /// Any of these, wildcards allowed; `folded` where case and trailing component separators do not count.
    AnyOf { patterns: Vec<String>, wildcards: bool, folded: bool },
    /// The beginnings of words of a person name, in lower case.
    Fuzzy(Vec<String>),
    /// From and to, both included, and either open (C.2.2.2.5).
    Range { from: Option<String>, to: Option<String> },
    /// A date or time whose digits begin so.
    Moment(String),
    /// A number.
    Number(f64),
}

impl Matcher {
    pub(crate) fn new(vr: VR, value: &str, fuzzy: bool) -> Self {
        if value.is_empty() {
            return Matcher::Universal;
        }
        if value == "\"\"" {
            return Matcher::Empty;
        }
        match vr {
            VR::DA | VR::TM | VR::DT => moment(vr, value),
            VR::PN if fuzzy => Matcher::Fuzzy(words(value).collect()),
            VR::PN => any_of(vec![fold_name(value)], true, true),
            VR::UI => {
                any_of(value.split([',', '\\']).map(|uid| uid.trim().to_owned()).collect(), false, false)
            }
            VR::CS => any_of(value.split('\\').map(str::to_owned).collect(), true, false),
            VR::IS | VR::DS | VR::FL | VR::FD | VR::SL | VR::SS | VR::SV | VR::UL | VR::US | VR::UV => {
                match value.trim().parse() {
                    Ok(number) => Matcher::Number(number),
                    Err(_) => any_of(vec![value.to_owned()], false, false),
                }
            }
            _ => any_of(vec![value.to_owned()], true, false),
        }
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
            _ => values.iter().any(|value| self.takes_value(value)),
        }
    }

    /// Whether this text is a value that matches.
    pub(crate) fn takes_text(&self, text: &str) -> bool {
        match self {
            Matcher::Universal => true,
            Matcher::Empty => text.is_empty(),
            Matcher::AnyOf { patterns, wildcards, folded } => {
                let folded_name = if *folded { fold_name(text) } else { String::new() };
                let text = if *folded { &folded_name } else { text };
                patterns.iter().any(|pattern| if *wildcards { like(pattern, text) } else { pattern == text })
            }
            Matcher::Fuzzy(wanted) => {
                let words: Vec<String> = words(text).collect();
                wanted.iter().all(|want| words.iter().any(|word| word.starts_with(want)))
            }
            Matcher::Range { from, to } => {
                let digits = digits(text);
                let above = from.as_ref().is_none_or(|from| *from <= padded(&digits, from.len(), '0'));
                let below = to.as_ref().is_none_or(|to| cut(&digits, to.len()) <= to.as_str());
                !digits.is_empty() && above && below
            }
            Matcher::Moment(wanted) => digits(text).starts_with(wanted.as_str()),
            Matcher::Number(number) => text.trim().parse() == Ok(*number),
        }
    }

    fn takes_value(&self, value: &Value) -> bool {
        if let (Value::Object(groups), Matcher::AnyOf { .. }) = (value, self) {
            // A key without `=` may match any one component group.
            let any_group = groups.values().filter_map(Value::as_str).any(|group| self.takes_text(group));
            if any_group {
                return true;
            }
        }
        model::text(value).is_some_and(|text| self.takes_text(&text))
    }
}

fn any_of(patterns: Vec<String>, wildcards: bool, folded: bool) -> Matcher {
    Matcher::AnyOf { patterns, wildcards, folded }
}

/// A date, time or both, or a range of them.
fn moment(vr: VR, value: &str) -> Matcher {
    match split_range(vr, value) {
        Some((from, to)) => {
            let bound = |text: &str| Some(digits(text)).filter(|digits| !digits.is_empty());
            Matcher::Range { from: bound(from), to: bound(to) }
        }
        None => Matcher::Moment(digits(value)),
    }
}

/// The two ends of a range; `None` for a single value. A date and time may end in an offset from UTC
/// (`-0500`), which is no range.
fn split_range(vr: VR, value: &str) -> Option<(&str, &str)> {
    let (from, to) = value.split_once('-')?;
    let is_offset = |text: &str| text.len() == 4 && text.parse::<u16>().is_ok_and(|offset| offset <= 1400);
    if vr != VR::DT || from.is_empty() {
        return Some((from, to));
    }
    match to.split_once('-') {
        None if is_offset(to) => None,
        Some((offset, to)) if is_offset(offset) => Some((from, to)),
        _ => Some((from, to)),
    }
}

/// The digits before an offset from UTC; dates may have dots and times colons of old (PS3.5 section 6.2).
fn digits(text: &str) -> String {
    let text = match text.char_indices().skip(1).find(|(_, character)| matches!(character, '+' | '-')) {
        Some((at, _)) => text.get(..at).unwrap_or(text),
        None => text,
    };
    text.chars().filter(char::is_ascii_digit).collect()
}

fn padded(digits: &str, length: usize, with: char) -> String {
    let missing = length.saturating_sub(digits.len());
    digits.chars().chain(std::iter::repeat_n(with, missing)).collect()
}

fn cut(digits: &str, length: usize) -> &str {
    digits.get(..length).unwrap_or(digits)
}

/// A name as it is compared: lower case, no empty trailing components or groups.
fn fold_name(name: &str) -> String {
    let groups: Vec<_> =
        name.split('=').map(|group| group.trim_end_matches(['^', ' ']).to_lowercase()).collect();
    groups.join("=").trim_end_matches('=').to_owned()
}

fn words(name: &str) -> impl Iterator<Item = String> + '_ {
    name.split(|character: char| !character.is_alphanumeric() && character != '\'')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

/// Whether `text` is like `pattern`, in which `*` stands for any characters and `?` for one. Linear in the
/// product of the lengths, so that no pattern takes long.
fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || text.get(read) == Some(wanted) => {
                at += 1;
                read += 1;
            }
            _ => match star {
                Some((star_at, star_read)) => {
                    star = Some((star_at, star_read + 1));
                    at = star_at + 1;
                    read = star_read + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at).all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn keys_match_as_the_standard_says() {
        let name = json!({"Alphabetic": "Doe^John", "Ideographic": "山田^太郎"});
        let cases = [
            (VR::LO, "", json!("x"), true),
            (VR::LO, "Head*", json!("Head CT"), true),
            (VR::LO, "head*", json!("Head CT"), false),
            (VR::LO, "H??d", json!("Head"), true),
            (VR::LO, "H?d", json!("Head"), false),
            (VR::UI, "1.2.*", json!("1.2.3"), false),
            (VR::UI, "1.2.4,1.2.3", json!("1.2.3"), true),
            (VR::UI, "1.2.4\\1.2.3", json!("1.2.3"), true),
            (VR::CS, "CT\\MR", json!("MR"), true),
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
            (VR::PN, "doe^john", name.clone(), true),
            (VR::PN, "DOE*", name.clone(), true),
            (VR::PN, "Doe^John^^", name.clone(), true),
            (VR::PN, "山田*", name.clone(), true),
            (VR::PN, "doe^john=山田^太郎", name.clone(), true),
            (VR::PN, "John", name.clone(), false),
            (VR::IS, "7", json!(7), true),
            (VR::DS, "0.50", json!(0.5), true),
            (VR::US, "7", json!(8), false),
        ];
        for (vr, key, value, expected) in cases {
            let element = json!({"vr": vr.to_string(), "Value": [value]});
            assert_eq!(Matcher::new(vr, key, false).takes(&element), expected, "{vr:?} {key} {value}");
        }
    }

    #[test]
    fn fuzzy_names_match_by_the_beginnings_of_words() {
        let element = json!({"vr": "PN", "Value": [{"Alphabetic": "BENCH^Case003"}]});
        for (key, expected) in [("case003", true), ("bench case", true), ("ench", false), ("case004", false)]
        {
            assert_eq!(Matcher::new(VR::PN, key, true).takes(&element), expected, "{key}");
        }
    }

    #[test]
    fn emptiness_is_matched() {
        let empty = Matcher::new(VR::LO, "\"\"", false);
        assert!(empty.takes(&json!({"vr": "LO"})) && empty.takes_absent());
        assert!(!empty.takes(&json!({"vr": "LO", "Value": ["x"]})));
        assert!(!Matcher::new(VR::LO, "x", false).takes_absent());
    }

    proptest! {
        #[test]
        fn no_key_makes_it_panic(key in "\\PC{0,30}", text in "\\PC{0,30}") {
            for vr in [VR::PN, VR::DA, VR::TM, VR::DT, VR::UI, VR::LO, VR::IS, VR::CS] {
                for fuzzy in [false, true] {
                    let _taken = Matcher::new(vr, &key, fuzzy).takes(&json!({"vr": "LO", "Value": [text, null, {"Alphabetic": text}]}));
                }
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

        #[test]
        fn a_range_takes_exactly_what_lies_within(from in 0u32..9999, to in 0u32..9999, day in 0u32..9999) {
            let [from, to, day] = [from, to, day].map(|days| 20_000_000 + days);
            let element = json!({"vr": "DA", "Value": [day.to_string()]});
            let matcher = Matcher::new(VR::DA, &format!("{from}-{to}"), false);
            prop_assert_eq!(matcher.takes(&element), (from..=to).contains(&day));
        }
    }
}
