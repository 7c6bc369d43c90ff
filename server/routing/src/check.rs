//! What is wrong with a rule.

use dicom_core::VR;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_dictionary_std::StandardDataDictionary;

use crate::condition::{Condition, Test, tag};
use crate::{Rule, What};

/// Characters of a rule's name.
const MAX_NAME: usize = 64;
/// Conditions within conditions.
const MAX_DEPTH: usize = 16;
/// A year: no study takes longer to arrive.
const MAX_QUIET_SECONDS: u64 = 366 * 24 * 3600;

/// The first thing wrong with a rule, in words for whoever wrote it. Whether nodes, bundles and labels of these names
/// exist is not looked at.
pub fn problem(rule: &Rule) -> Option<String> {
    let said = problem_of_name(&rule.name).or_else(|| problem_of_actions(rule));
    let said = said.or_else(|| problem_of_condition(&rule.when, MAX_DEPTH))?;
    Some(format!("rule {:?}: {said}", rule.name))
}

fn problem_of_name(name: &str) -> Option<String> {
    let is_plain = |c: char| !c.is_control() && !matches!(c, '/' | '\\' | '?' | '#' | '%');
    if name.trim().is_empty() || name.trim() != name {
        return Some("a rule needs a name, without spaces at its ends".into());
    }
    if name.chars().count() > MAX_NAME || !name.chars().all(is_plain) {
        return Some(format!("its name is longer than {MAX_NAME} characters, or holds one of / \\ ? # %"));
    }
    None
}

fn problem_of_actions(rule: &Rule) -> Option<String> {
    if !rule.send.is_empty() && rule.then.segment.is_none() {
        return Some("it sends results, but `then` segments nothing".into());
    }
    if rule.send.iter().any(|send| send.what.is_empty()) {
        return Some("`what` of a `send` is empty".into());
    }
    let twice =
        |what: &[What]| what.contains(&What::Segmentation) && what.contains(&What::BinarySegmentation);
    if let Some(send) = rule.send.iter().find(|send| twice(&send.what)) {
        return Some(format!("{:?} would get the segmentation twice", send.to));
    }
    if rule.quiet_seconds > MAX_QUIET_SECONDS {
        return Some(format!("quiet_seconds is more than {MAX_QUIET_SECONDS}"));
    }
    None
}

fn problem_of_condition(condition: &Condition, depth: usize) -> Option<String> {
    let Some(depth) = depth.checked_sub(1) else {
        return Some(format!("its conditions lie more than {MAX_DEPTH} deep"));
    };
    let attributes = condition.attributes.iter().find_map(|(name, test)| {
        problem_of_attribute(name).or_else(|| problem_of_test(test).map(|said| format!("{name}: {said}")))
    });
    let title = condition.calling_ae_title.as_ref().and_then(problem_of_test);
    let parts = || condition.parts().find_map(|part| problem_of_condition(part, depth));
    attributes.or(title).or_else(|| problem_of_slices(condition)).or_else(parts)
}

fn problem_of_slices(condition: &Condition) -> Option<String> {
    let range = condition.slices.unwrap_or_default();
    match (range.min, range.max) {
        (Some(min), Some(max)) if min > max => Some("slices: min is more than max".into()),
        _ => None,
    }
}

fn problem_of_attribute(name: &str) -> Option<String> {
    let Some(tag) = tag(name) else {
        return Some(format!(
            "{name:?} is no attribute; name one by its keyword, as PS3.6 spells it, or by its tag, as 00080060"
        ));
    };
    let vr = StandardDataDictionary.by_tag(tag).map(|entry| entry.vr());
    match vr {
        Some(VirtualVr::Exact(VR::SQ | VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::UN)) => {
            Some(format!("{name} has no text or number that a rule could look at"))
        }
        Some(VirtualVr::Px | VirtualVr::Ox) => Some(format!("{name} is no text or number")),
        _ => None,
    }
}

fn problem_of_test(test: &Test) -> Option<String> {
    match test {
        Test::OneOf(patterns) if patterns.is_empty() => Some("the list of patterns is empty".into()),
        Test::Comparison(comparison) if *comparison == Default::default() => {
            Some("the table says nothing; give `regex`, `min`, `max` or `present`".into())
        }
        Test::Comparison(comparison) => match (comparison.min, comparison.max) {
            (Some(min), Some(max)) if min > max => Some("min is more than max".into()),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_in_words() {
        for (rule, words) in [
            ("", "needs a name"),
            ("name = 'a/b'", "/"),
            ("name = 'x'\nwhen = { Modalty = 'MR' }", "Modalty"),
            ("name = 'x'\nwhen = { modality = 'MR' }", "keyword"),
            ("name = 'x'\nwhen = { any = [{ not = { Modalty = 'MR' } }] }", "Modalty"),
            ("name = 'x'\nwhen = { PixelData = 'a' }", "PixelData"),
            ("name = 'x'\nwhen = { ReferencedSeriesSequence = 'a' }", "ReferencedSeriesSequence"),
            ("name = 'x'\nwhen = { Rows = {} }", "Rows"),
            ("name = 'x'\nwhen = { Rows = { min = 2, max = 1 } }", "min is more"),
            ("name = 'x'\nwhen = { slices = { min = 2, max = 1 } }", "min is more"),
            ("name = 'x'\n[[send]]\nto = 'PACS'", "segments nothing"),
            ("name = 'x'\nthen.segment = {}\n[[send]]\nto = 'PACS'\nwhat = []", "empty"),
            ("name = 'x'\nquiet_seconds = 99999999999", "quiet_seconds"),
        ] {
            let text = if rule.is_empty() { "name = ' '" } else { rule };
            let problem = problem(&toml::from_str(text).unwrap());
            assert!(problem.as_ref().is_some_and(|said| said.contains(words)), "{rule}: {problem:?}");
        }
        let deep = (0..MAX_DEPTH).fold(Condition::default(), |inner, _| Condition {
            not: Some(Box::new(inner)),
            ..Condition::default()
        });
        let rule: Rule = toml::from_str("name = 'x'").unwrap();
        assert!(problem(&Rule { when: deep, ..rule.clone() }).is_some_and(|said| said.contains("deep")));
        assert_eq!(problem(&rule), None);
    }

    #[test]
    fn what_rules_do_not_know_is_an_error_of_reading() {
        for text in [
            "name = 'x'\nwhne = {}",
            "name = 'x'\nthen.sgment = {}",
            "name = 'x'\nwhen = { Modality = 7 }",
            "name = 'x'\nwhen = { Modality = { regx = 'a' } }",
            "name = 'x'\nwhen = { Modality = { regex = '(' } }",
            "name = 'x'\n[[send]]\nto = 'a'\nwhat = ['movie']",
        ] {
            assert!(toml::from_str::<Rule>(text).is_err(), "{text}");
        }
    }
}
