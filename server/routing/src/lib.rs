//! Rules as pure functions: attributes of a study in, actions out. No I/O, no clock; the same attributes
//! always lead to the same actions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The attributes a rule may ask for, by DICOM keyword.
pub const MATCHABLE_ATTRIBUTES: [&str; 8] = [
    "Modality",
    "StudyDescription",
    "SeriesDescription",
    "ProtocolName",
    "BodyPartExamined",
    "InstitutionName",
    "StationName",
    "Manufacturer",
];

/// What a study says of itself: DICOM keyword to value. An absent attribute is an empty value.
pub type Attributes = BTreeMap<String, String>;

/// When a study matches, do this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Named in logs and provenance.
    pub name: String,
    /// DICOM keyword to pattern; all must match. Empty: matches everything.
    #[serde(default)]
    pub when: BTreeMap<String, String>,
    /// The collection that exemplars of a matching study belong to.
    #[serde(default)]
    pub collection: Option<String>,
    /// The bundle that segments a matching study, where a request names none: name, version or id of one that is served.
    #[serde(default)]
    pub bundle: Option<String>,
    /// Whether AUTOMATIC segmentations of a matching study become exemplars.
    #[serde(default)]
    pub automatic_segmentations_are_exemplars: bool,
}

/// What the rules decide for one study.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Actions {
    /// The first matching rule's collection, if one names any.
    pub collection: Option<String>,
    /// The first matching rule's bundle, if one names any.
    pub bundle: Option<String>,
    /// True when any matching rule says so.
    pub automatic_segmentations_are_exemplars: bool,
}

/// The actions of every rule that matches, in the order of `rules`; the first collection and the first bundle named
/// win.
pub fn decide(rules: &[Rule], attributes: &Attributes) -> Actions {
    rules.iter().filter(|rule| matches(rule, attributes)).fold(Actions::default(), |mut actions, rule| {
        if actions.collection.is_none() {
            actions.collection.clone_from(&rule.collection);
        }
        if actions.bundle.is_none() {
            actions.bundle.clone_from(&rule.bundle);
        }
        actions.automatic_segmentations_are_exemplars |= rule.automatic_segmentations_are_exemplars;
        actions
    })
}

/// The first thing wrong with a rule, in words for whoever wrote it.
pub fn problem(rule: &Rule) -> Option<String> {
    if rule.name.trim().is_empty() {
        return Some("a rule needs a name".into());
    }
    let unknown = rule.when.keys().find(|keyword| !MATCHABLE_ATTRIBUTES.contains(&keyword.as_str()))?;
    Some(format!(
        "rule \"{}\" asks for {unknown}, which rules cannot match; they can match {}",
        rule.name,
        MATCHABLE_ATTRIBUTES.join(", ")
    ))
}

fn matches(rule: &Rule, attributes: &Attributes) -> bool {
    rule.when.iter().all(|(keyword, pattern)| {
        let value = attributes.get(keyword).map_or("", String::as_str);
        wildcard(&pattern.to_lowercase(), &value.to_lowercase())
    })
}

/// `*` stands for any run of characters, `?` for one (PS3.4 C.2.2.2.4). Runs in pattern x value steps at most.
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

    fn rule(name: &str, when: &[(&str, &str)], collection: Option<&str>) -> Rule {
        Rule {
            name: name.into(),
            when: when.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            collection: collection.map(Into::into),
            bundle: collection.map(|collection| format!("{collection}-bundle")),
            automatic_segmentations_are_exemplars: false,
        }
    }

    #[test]
    fn wildcards() {
        for (pattern, value, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("?b?", "abc", true),
            ("?b?", "ab", false),
            ("*ab*ab", "abxabyab", true),
        ] {
            assert_eq!(wildcard(pattern, value), expected, "{pattern} on {value}");
        }
    }

    #[test]
    fn the_first_that_is_named_wins_and_all_conditions_must_hold() {
        let rules = [
            rule("children", &[("Modality", "mr"), ("InstitutionName", "*children*")], Some("paediatric")),
            rule("mr", &[("Modality", "MR")], Some("mr")),
        ];
        let at = |institution: &str| {
            let attributes =
                [("Modality".into(), "MR".into()), ("InstitutionName".into(), institution.into())].into();
            decide(&rules, &attributes)
        };
        let children = at("St. Children's");
        assert_eq!(children.collection.as_deref(), Some("paediatric"));
        assert_eq!(children.bundle.as_deref(), Some("paediatric-bundle"));
        assert_eq!(at("General").collection.as_deref(), Some("mr"));
        assert_eq!(decide(&rules, &Attributes::new()), Actions::default());
    }

    #[test]
    fn a_rule_on_an_unknown_attribute_is_a_problem() {
        assert!(problem(&rule("x", &[("Modalty", "MR")], None)).is_some_and(|p| p.contains("Modalty")));
        assert_eq!(problem(&rule("x", &[("Modality", "MR")], None)), None);
    }
}
