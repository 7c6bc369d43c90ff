//! Which studies a search has to look at.

use super::{
    Key, Test,
    matching::{Matcher, words},
    name::takes_group,
};
use crate::{
    Query, Result,
    catalogue::{Catalogue, END_LENGTH, Index},
    draft::{INDEX_LENGTH, first_characters, is_cut},
    read::Reader,
};
use dicom_dictionary_std::tags;
use std::collections::BTreeSet;

/// How many studies an index may propose, beyond eight times the results that are wanted: where it proposes more, so
/// many match that going through all studies finds the results sooner.
const MOST: usize = 256;

/// The studies that can match, by the narrowest index at hand; `None` for all.
pub(super) fn candidates(reader: &Reader, query: &Query, keys: &[Key]) -> Result<Option<BTreeSet<String>>> {
    if let Some(study) = &query.study_instance_uid {
        return Ok(Some(BTreeSet::from([study.clone()])));
    }
    let wanted = query.limit.saturating_add(query.offset);
    let most = wanted.saturating_mul(8).saturating_add(MOST);
    let mut narrowest: Option<BTreeSet<String>> = None;
    for key in keys {
        let matcher = match &key.test {
            Test::Value(matcher) | Test::DateTime { date: matcher, .. } if !matcher.takes_absent() => matcher,
            _ => continue,
        };
        let Some(found) = proposed(&reader.shared.catalogue, key, matcher, most)? else { continue };
        if narrowest.as_ref().is_none_or(|best| found.len() < best.len()) {
            narrowest = Some(found);
        }
    }
    Ok(narrowest)
}

/// The studies that an index proposes for a key: all that match it, and perhaps others. `None` where there is no index
/// for it, or where it proposes more than `most`.
fn proposed(
    catalogue: &Catalogue,
    key: &Key,
    matcher: &Matcher,
    most: usize,
) -> Result<Option<BTreeSet<String>>> {
    match (key.first, matcher) {
        (tags::STUDY_INSTANCE_UID, Matcher::AnyOf { patterns, .. }) => {
            Ok(Some(patterns.iter().cloned().collect()))
        }
        (tags::SERIES_INSTANCE_UID, Matcher::AnyOf { patterns, .. }) => {
            union(patterns, |series| catalogue.indexed(Index::Series, series, most, |value| value == series))
        }
        (tags::SOP_INSTANCE_UID, Matcher::AnyOf { patterns, .. }) => union(patterns, |sop| {
            let place = catalogue.locate(sop)?;
            Ok(Some(place.map(|uids| uids.study_instance_uid).into_iter().collect()))
        }),
        (tags::MODALITY | tags::MODALITIES_IN_STUDY, Matcher::AnyOf { patterns, .. }) => {
            let modality =
                |value: &str| value.split('\0').next().is_some_and(|text| takes_cut(matcher, text));
            union(patterns, |pattern| catalogue.indexed(Index::Modality, beginning(pattern), most, modality))
        }
        (attribute, matcher) => match Index::of_study(attribute).zip(probes(matcher)) {
            Some((index, probes)) => union(&probes, |probe| {
                let part = probe.part.filter(|_| Index::WITH_ENDS.contains(&index));
                let by_part = part.map(|part| catalogue.with_part(index, part, most)).transpose()?.flatten();
                match by_part {
                    Some(found) => Ok(Some(found)),
                    None => catalogue.indexed(index, &probe.beginning, most, &probe.takes),
                }
            }),
            None => Ok(None),
        },
    }
}

/// A stretch of an index, and what of it matches.
struct Probe<'m> {
    beginning: String,
    /// What stands within whatever matches, where a match can begin anyhow.
    part: Option<&'m str>,
    takes: Box<dyn Fn(&str) -> bool + 'm>,
}

impl<'m> Probe<'m> {
    fn new(beginning: &str, part: &'m str, takes: impl Fn(&str) -> bool + 'm) -> Self {
        let part = Some(first_characters(part, END_LENGTH));
        Probe {
            part: part.filter(|part| beginning.is_empty() && !part.is_empty()),
            beginning: beginning.to_owned(),
            takes: Box::new(takes),
        }
    }
}

/// Where an index of a study's attribute holds what matches; `None` for anywhere.
fn probes(matcher: &Matcher) -> Option<Vec<Probe<'_>>> {
    match matcher {
        Matcher::AnyOf { patterns, .. } => {
            let takes = |value: &str| takes_cut(matcher, value);
            let probe = |pattern| Probe::new(beginning(pattern), longest_part(pattern, &['*', '?']), takes);
            Some(patterns.iter().map(|pattern| probe(pattern)).collect())
        }
        Matcher::Moment(moment) => {
            let probe = |beginning: String| Probe::new(&beginning, "", |value| takes_cut(matcher, value));
            Some(moment.beginnings().into_iter().map(probe).collect())
        }
        Matcher::Name(key) => key.group().map(|key| {
            let takes = move |group: &str| is_cut(group) || takes_group(key, group);
            let part = longest_part(key, &['*', '?', '^']);
            vec![Probe::new(beginning(literal_components(key)), part, takes)]
        }),
        Matcher::Fuzzy(wanted) => wanted.first().map(|first| {
            let takes = move |group: &str| is_cut(group) || words(group).any(|word| word.starts_with(first));
            vec![Probe::new("", first, takes)]
        }),
        _ => None,
    }
}

/// The studies that are found for any of the values; `None` where one of them finds too many.
fn union<T>(
    values: &[T],
    find: impl Fn(&T) -> Result<Option<BTreeSet<String>>>,
) -> Result<Option<BTreeSet<String>>> {
    let mut all = BTreeSet::new();
    for value in values {
        match find(value)? {
            Some(found) => all.extend(found),
            None => return Ok(None),
        }
    }
    Ok(Some(all))
}

/// What precedes the first wildcard, as far as an index holds it: it bounds the scan.
fn beginning(pattern: &str) -> &str {
    first_characters(pattern.split(['*', '?']).next().unwrap_or_default(), INDEX_LENGTH)
}

/// The longest stretch without any of these.
fn longest_part<'p>(pattern: &'p str, without: &[char]) -> &'p str {
    pattern.split(without).max_by_key(|part| part.chars().count()).unwrap_or_default()
}

/// The components that a person name's key begins with and that must be there as they are, up to a wildcard or an empty
/// component, which takes any.
fn literal_components(key: &str) -> &str {
    let literal = key.split(['*', '?']).next().unwrap_or_default();
    let literal = literal.split("^^").next().unwrap_or_default().trim_end_matches('^');
    if literal.starts_with('^') { "" } else { literal }
}

/// Whether the value is one that the matcher takes, or may go on beyond what the index holds: the match itself decides.
fn takes_cut(matcher: &Matcher, value: &str) -> bool {
    is_cut(value) || matcher.takes_text(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        draft::{ends, index_values},
        search::matching::Rules,
    };
    use dicom_core::VR;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// Whether the index finds an element by one of the matcher's probes.
    fn is_found(index: Index, matcher: &Matcher, element: &Value) -> bool {
        let held = index_values(index, element);
        let finds = |probe: &Probe| {
            held.iter().any(|value| {
                let by_part = |part| ends(value).any(|end| end.is_empty() || end.starts_with(part));
                value.starts_with(&probe.beginning) && (probe.takes)(value) && probe.part.is_none_or(by_part)
            })
        };
        probes(matcher).is_none_or(|probes| probes.iter().any(finds))
    }

    proptest! {
        #[test]
        fn an_index_proposes_whatever_matches(
            key in "[a-cA-Cé*?^=\\\\ ]{1,6}|\\*?[a-c]{60,70}\\*?|\\*[a-c]{14,18}\\*",
            value in "[a-cA-Cé^= ]{0,6}|[a-c]{60,80}",
            fuzzy in any::<bool>(),
        ) {
            let rules = Rules { fuzzy, ..Rules::default() };
            let groups: Vec<&str> = value.split('=').collect();
            let name = json!({"Alphabetic": groups[0], "Ideographic": groups.get(1), "Phonetic": groups.get(2)});
            for (index, vr, value) in
                [(Index::PatientName, VR::PN, name), (Index::StudyDescription, VR::LO, json!(value))]
            {
                let matcher = Matcher::new(vr, &key, rules).unwrap();
                let element = json!({"vr": vr.to_string(), "Value": [value]});
                prop_assert!(!matcher.takes(&element) || is_found(index, &matcher, &element), "{element}");
            }
        }

        #[test]
        fn an_index_proposes_what_holds_a_part(
            before in "[a-zé ]{0,70}",
            part in "[a-zé ]{1,20}",
            after in "[a-zé ]{0,20}",
        ) {
            let element = json!({"vr": "LO", "Value": [format!("{before}{part}{after}")]});
            let matcher = Matcher::new(VR::LO, &format!("*{part}*"), Rules::default()).unwrap();
            prop_assert!(is_found(Index::StudyDescription, &matcher, &element));
        }

        #[test]
        fn an_index_of_dates_proposes_whatever_matches(
            key in "(19|20)2[01][01][1-3](0[1-9])?|20200101-|-20210101|20200101-20210101",
            date in "20(20|21)(01|02)(01|02)|2020\\.01\\.01",
        ) {
            let Ok(matcher) = Matcher::new(VR::DA, &key, Rules::default()) else { return Ok(()) };
            let element = json!({"vr": "DA", "Value": [date]});
            prop_assert!(!matcher.takes(&element) || is_found(Index::StudyDate, &matcher, &element));
        }
    }
}
