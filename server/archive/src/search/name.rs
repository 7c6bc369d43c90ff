//! Person names as keys. PS3.4 section C.2.2.2.1 leaves to the implementation how names match; here:
//!
//! - Upper and lower case are the same, and empty components at the end do not count.
//! - A key without `=` matches any of a name's component groups; one with `=` each group that it gives.
//! - A key group with `^` matches component by component, where an empty one matches any: `^John` is every John. `*` and
//!   `?` stay within their component, but for the last, which also takes what follows it. Without `^` the group matches
//!   as a whole.

use super::matching::like;
use serde_json::Value;

const GROUPS: [&str; 3] = ["Alphabetic", "Ideographic", "Phonetic"];

/// A person name with wildcards.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NameKey {
    groups: Vec<String>,
}

impl NameKey {
    pub(crate) fn new(key: &str) -> NameKey {
        NameKey { groups: key.split('=').map(fold).collect() }
    }

    /// The key of a group that some group of each name that matches must match, with [`takes_group`]; `None` where any
    /// name matches.
    pub(crate) fn group(&self) -> Option<&str> {
        self.groups.iter().map(String::as_str).find(|group| !group.is_empty())
    }

    /// Whether a value of PN, in the DICOM JSON model, matches.
    pub(crate) fn takes(&self, name: &Value) -> bool {
        let group = |number| group(name, number);
        match &self.groups[..] {
            [any] => (0..GROUPS.len()).filter_map(group).any(|group| takes_group(any, &fold(group))),
            each => each
                .iter()
                .enumerate()
                .filter(|(_, key)| !key.is_empty())
                .all(|(number, key)| group(number).is_some_and(|group| takes_group(key, &fold(group)))),
        }
    }
}

/// The component groups of a value of PN, in the DICOM JSON model, as keys are compared with them.
pub(crate) fn folded_groups(name: &Value) -> Vec<String> {
    (0..GROUPS.len()).filter_map(|number| group(name, number)).map(fold).collect()
}

fn group(name: &Value, number: usize) -> Option<&str> {
    match name {
        Value::Object(groups) => groups.get(*GROUPS.get(number)?)?.as_str(),
        Value::String(name) => name.split('=').nth(number),
        _ => None,
    }
}

fn fold(group: &str) -> String {
    group.trim_end_matches(['^', ' ']).trim_start().to_lowercase()
}

/// Whether a folded group matches the folded key of one.
pub(crate) fn takes_group(key: &str, group: &str) -> bool {
    let count = key.split('^').count();
    let mut components = group.splitn(count, '^');
    key.split('^').all(|key| {
        let component = components.next().unwrap_or_default();
        key.is_empty() || like(key, component)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_match_by_group_and_component() {
        let name = json!({ "Alphabetic": "Doe^John^Q", "Ideographic": "山田^太郎" });
        for (key, expected) in [
            ("doe^john^q", true),
            ("DOE*", true),
            ("Doe^John^Q^^", true),
            ("Doe^John", false),
            ("Doe^J*", true),
            ("^john*", true),
            ("^^Q", true),
            ("D?e^^q", true),
            ("D*n^Q", false),
            ("John", false),
            ("*john*", true),
            ("山田*", true),
            ("^太郎", true),
            ("=山田*", true),
            ("doe*=山田^太郎", true),
            ("doe*=佐藤*", false),
            ("==*", false),
        ] {
            assert_eq!(NameKey::new(key).takes(&name), expected, "{key}");
        }
    }
}
