//! Coded concepts (PS3.3 8.8) and when two of them are the same.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::srt;

/// A coded concept. Equality, order and hash look at scheme and value alone, after mapping SNOMED-RT codes to
/// SNOMED CT (PS3.16 Annex O): the meaning is for people.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Code {
    /// CodeValue, LongCodeValue or URNCodeValue.
    pub value: String,
    /// CodingSchemeDesignator.
    pub scheme: String,
    /// CodeMeaning.
    pub meaning: String,
}

impl Code {
    /// A code from its three parts.
    pub fn new(value: impl Into<String>, scheme: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self { value: value.into(), scheme: scheme.into(), meaning: meaning.into() }
    }

    /// Scheme and value by which this code is compared: SCT where a SNOMED-RT code has a SNOMED CT equal, and one
    /// designator (SRT) for SNOMED-RT's older names (SNM3, 99SDM) where it has none.
    pub fn canonical(&self) -> (&str, &str) {
        let legacy = matches!(self.scheme.as_str(), "SRT" | "SNM3" | "99SDM");
        // Some writers name the new scheme with the old values.
        let mislabelled = self.scheme == "SCT" && self.value.contains('-');
        match srt::to_sct(&self.value) {
            Some(sct) if legacy || mislabelled => ("SCT", sct),
            _ if legacy => ("SRT", &self.value),
            _ => (&self.scheme, &self.value),
        }
    }

    /// Stable text of the canonical scheme and value: `SCT:10200004`. `%`, `|`, control characters and spaces, and
    /// a scheme's `:`, are percent-escaped.
    pub fn key(&self) -> String {
        let (scheme, value) = self.canonical();
        format!("{}:{}", escape(scheme, true), escape(value, false))
    }

    /// The code a [`Code::key`] stands for, without a meaning. `None` where the text is not such a key.
    pub fn from_key(key: &str) -> Option<Self> {
        let (scheme, value) = key.split_once(':')?;
        let (scheme, value) = (unescape(scheme)?, unescape(value)?);
        (!scheme.is_empty() && !value.is_empty()).then(|| Self::new(value, scheme, ""))
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.canonical() == other.canonical()
    }
}

impl Eq for Code {}

impl Hash for Code {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canonical().hash(state);
    }
}

impl PartialOrd for Code {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Code {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.canonical().cmp(&other.canonical())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {}, \"{}\")", self.value, self.scheme, self.meaning)
    }
}

fn escape(text: &str, colon: bool) -> Cow<'_, str> {
    let special = |c: char| matches!(c, '%' | '|' | ' ') || c.is_control() || (colon && c == ':');
    if !text.contains(special) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if special(c) {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                escaped.push_str(&format!("%{byte:02X}"));
            }
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equality_ignores_meaning_and_maps_legacy_snomed() {
        let liver = Code::new("10200004", "SCT", "Liver");
        for (value, scheme) in
            [("T-62000", "SRT"), ("T-62000", "SNM3"), ("T-62000", "99SDM"), ("T-62000", "SCT")]
        {
            assert_eq!(liver, Code::new(value, scheme, "Foie"), "{scheme}");
        }
        assert_ne!(liver, Code::new("10200004", "99LOCAL", "Liver"));
        assert_ne!(liver, Code::new("T-62000", "99LOCAL", "Liver"));
        assert_eq!(Code::new("X-00000", "SNM3", ""), Code::new("X-00000", "SRT", ""));
    }

    proptest! {
        #[test]
        fn keys_come_back(value in "\\PC{1,20}", scheme in "\\PC{1,16}") {
            let code = Code::new(value, scheme, "");
            prop_assert_eq!(Code::from_key(&code.key()), Some(code));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = Code::from_key(&text);
        }
    }
}
