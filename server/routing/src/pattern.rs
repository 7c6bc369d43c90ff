//! Patterns that text is held against.

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

/// Bytes that a compiled regular expression may take.
const MAX_COMPILED: usize = 1 << 20;

/// A regular expression (crate `regex`: linear in the text's length). Found anywhere in the text unless anchored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RegexPattern(Regex);

impl RegexPattern {
    /// Whether it is found in the text.
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl TryFrom<String> for RegexPattern {
    type Error = String;

    fn try_from(pattern: String) -> Result<Self, String> {
        let compiled = RegexBuilder::new(&pattern).size_limit(MAX_COMPILED).build();
        compiled.map(Self).map_err(|error| format!("{pattern:?} is no regular expression: {error}"))
    }
}

impl From<RegexPattern> for String {
    fn from(pattern: RegexPattern) -> Self {
        pattern.0.as_str().to_owned()
    }
}

impl PartialEq for RegexPattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// `*` stands for any run of characters, `?` for one (PS3.4 C.2.2.2.4); letters match in either case. Runs in pattern x
/// value steps at most.
pub(crate) fn glob(pattern: &str, value: &str) -> bool {
    wildcard(&pattern.to_lowercase(), &value.to_lowercase())
}

fn wildcard(pattern: &str, value: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let value: Vec<char> = value.chars().collect();
    let (mut p, mut v) = (0, 0);
    // Where the last `*` stood and how much of the value it has swallowed so far.
    let mut star: Option<(usize, usize)> = None;
    while v < value.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, v));
                p += 1;
            }
            Some(&c) if c == '?' || c == value[v] => {
                p += 1;
                v += 1;
            }
            _ => match star {
                Some((star_p, star_v)) => {
                    star = Some((star_p, star_v + 1));
                    p = star_p + 1;
                    v = star_v + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, value, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("a*c", "ABBC", true),
            ("a*c", "abbd", false),
            ("?b?", "abc", true),
            ("?b?", "ab", false),
            ("*ab*ab", "abxabyab", true),
        ] {
            assert_eq!(glob(pattern, value), expected, "{pattern} on {value}");
        }
    }

    #[test]
    fn what_is_no_regular_expression_or_too_large_is_told() {
        let read = |pattern: &str| RegexPattern::try_from(pattern.to_owned());
        assert!(read("^T[12]_(ax|cor)$").is_ok_and(|pattern| pattern.matches("T2_cor")));
        assert!(read("(").is_err_and(|problem| problem.contains("no regular expression")));
        assert!(read("(((\\w{100}){100}){100}){100}").is_err());
    }
}
