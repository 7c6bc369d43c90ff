//! From rules and facts to what is to be done.

use crate::condition::Verdict;
use crate::{Facts, Rule, Segment, Send, What};

/// What the rules decide for a series, about its exemplars and about requests to segment it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Actions {
    /// The first matching rule's collection, if one names any.
    pub collection: Option<String>,
    /// The first matching rule's bundle, if one names any.
    pub bundle: Option<String>,
    /// True when any matching rule says so.
    pub automatic_segmentations_are_exemplars: bool,
}

/// What the rules have done about a series unasked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// Its segmentations, the one of the highest priority first.
    pub segmentations: Vec<PlannedSegmentation>,
    /// Where the series itself goes.
    pub forwards: Vec<PlannedForward>,
}

/// A segmentation that one or more rules ask for in the same words.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedSegmentation {
    /// Names of the rules.
    pub rules: Vec<String>,
    /// The highest of their priorities.
    pub priority: i32,
    /// What they ask for.
    pub segment: Segment,
    /// Where they have it sent; each node once, with everything that they say it gets.
    pub send: Vec<Send>,
    /// Whether a condition was taken to hold that nobody can tell any more.
    pub assumed: bool,
}

/// A node that gets the series itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedForward {
    /// The first rule that says so.
    pub rule: String,
    /// Its priority.
    pub priority: i32,
    /// Name of the node.
    pub to: String,
    /// Whether a condition was taken to hold that nobody can tell any more.
    pub assumed: bool,
}

/// The actions of every rule that matches, in the order of `rules`; the first collection and the first bundle named
/// win. A condition that nobody can tell any more does not hold.
pub fn decide(rules: &[Rule], facts: &Facts<'_>) -> Actions {
    let matching = rules.iter().filter(|rule| rule.enabled && rule.when.judge(facts) == Verdict::Yes);
    matching.map(|rule| &rule.then).fold(Actions::default(), |actions, then| Actions {
        collection: actions.collection.or_else(|| then.collection.clone()),
        bundle: actions.bundle.or_else(|| then.bundle.clone()),
        automatic_segmentations_are_exemplars: actions.automatic_segmentations_are_exemplars
            || then.automatic_segmentations_are_exemplars,
    })
}

/// What the rules that match have done. A condition that nobody can tell any more is taken to hold, and the plan says so.
pub fn plan<'r>(rules: impl IntoIterator<Item = &'r Rule>, facts: &Facts<'_>) -> Plan {
    let mut plan = Plan::default();
    for rule in rules.into_iter().filter(|rule| rule.acts()) {
        let verdict = rule.when.judge(facts);
        if verdict != Verdict::No {
            plan.take(rule, verdict == Verdict::Unknown);
        }
    }
    plan.segmentations.sort_by_key(|planned| std::cmp::Reverse(planned.priority));
    plan
}

impl Plan {
    fn take(&mut self, rule: &Rule, assumed: bool) {
        for to in &rule.then.forward {
            if !self.forwards.iter().any(|forward| forward.to == *to) {
                let (rule, priority) = (rule.name.clone(), rule.priority);
                self.forwards.push(PlannedForward { rule, priority, to: to.clone(), assumed });
            }
        }
        let Some(segment) = &rule.then.segment else { return };
        match self.segmentations.iter_mut().find(|planned| planned.segment == *segment) {
            Some(planned) => planned.join(rule, assumed),
            None => self.segmentations.push(PlannedSegmentation {
                rules: vec![rule.name.clone()],
                priority: rule.priority,
                segment: segment.clone(),
                send: merged(&[], &rule.send),
                assumed,
            }),
        }
    }
}

impl PlannedSegmentation {
    fn join(&mut self, rule: &Rule, assumed: bool) {
        self.rules.push(rule.name.clone());
        self.priority = self.priority.max(rule.priority);
        self.send = merged(&self.send, &rule.send);
        // One rule that surely matches is enough.
        self.assumed &= assumed;
    }
}

/// Both, each node once.
fn merged(before: &[Send], more: &[Send]) -> Vec<Send> {
    let mut all: Vec<Send> = before.to_vec();
    for send in more {
        match all.iter_mut().find(|known| known.to == send.to) {
            Some(known) => known.what.extend(&send.what),
            None => all.push(send.clone()),
        }
    }
    for send in &mut all {
        send.what.sort_unstable();
        send.what.dedup();
        // Who wants it as BINARY whatever the node takes has it so.
        if send.what.contains(&What::BinarySegmentation) {
            send.what.retain(|what| *what != What::Segmentation);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, Value, json};

    fn rule(text: &str) -> Rule {
        toml::from_str(text).unwrap()
    }

    fn mr(institution: &str) -> Map<String, Value> {
        let attributes = json!({
            "00080060": {"vr": "CS", "Value": ["MR"]},
            "00080080": {"vr": "LO", "Value": [institution]},
        });
        attributes.as_object().unwrap().clone()
    }

    fn facts(attributes: &Map<String, Value>) -> Facts<'_> {
        Facts { attributes, slices: 8, origin: None }
    }

    #[test]
    fn the_first_that_is_named_wins() {
        let rules = [
            rule(
                "name = 'off'\nenabled = false\nthen.collection = 'off'\nthen.automatic_segmentations_are_exemplars = true",
            ),
            rule(
                "name = 'children'\nwhen = { Modality = 'mr', InstitutionName = '*children*' }\nthen.collection = 'paediatric'",
            ),
            rule("name = 'mr'\nwhen = { Modality = 'MR' }\nthen.collection = 'mr'\nthen.bundle = 'small'"),
            rule(
                "name = 'sent'\nwhen = { source = 'dimse' }\nthen.automatic_segmentations_are_exemplars = true",
            ),
        ];
        let at = |institution: &str| decide(&rules, &facts(&mr(institution)));
        assert_eq!(
            at("St. Children's"),
            Actions {
                collection: Some("paediatric".into()),
                bundle: Some("small".into()),
                automatic_segmentations_are_exemplars: false
            }
        );
        assert_eq!(at("General").collection.as_deref(), Some("mr"));
        assert_eq!(decide(&rules, &facts(&Map::new())), Actions::default());
    }

    #[test]
    fn the_same_segmentation_is_made_once_and_sent_to_all() {
        let rules = [
            rule(
                "name = 'a'\nthen.segment = { labels = ['SCT:1'] }\n[[send]]\nto = 'PACS'\nwhat = ['report', 'segmentation']",
            ),
            rule(
                "name = 'b'\npriority = 7\nwhen.source = 'dimse'\nthen.segment = { labels = ['SCT:1'] }\n[[send]]\nto = 'PACS'\nwhat = ['report', 'secondary_capture']\n[[send]]\nto = 'CLOUD'",
            ),
            rule(
                "name = 'c'\npriority = 9\nthen.segment = { labels = ['SCT:1'], quality = 'best' }\nthen.forward = ['PACS', 'CLOUD']",
            ),
            rule("name = 'd'\nthen.forward = ['PACS']"),
            rule("name = 'e'\nwhen = { Modality = 'CT' }\nthen.segment = {}"),
        ];
        let plan = plan(&rules, &facts(&mr("")));
        let [best, both] = plan.segmentations.as_slice() else { panic!("{plan:?}") };
        assert_eq!((best.rules.as_slice(), best.send.len()), (["c".to_owned()].as_slice(), 0));
        assert_eq!(
            (both.rules.as_slice(), both.priority, both.assumed),
            (["a".to_owned(), "b".to_owned()].as_slice(), 7, false)
        );
        let [pacs, cloud] = both.send.as_slice() else { panic!("{both:?}") };
        assert_eq!(
            (pacs.to.as_str(), pacs.what.as_slice()),
            ("PACS", [What::Segmentation, What::SecondaryCapture, What::Report].as_slice())
        );
        assert_eq!((cloud.to.as_str(), cloud.what.as_slice()), ("CLOUD", [What::Segmentation].as_slice()));
        let forwards: Vec<_> = plan.forwards.iter().map(|f| (f.rule.as_str(), f.to.as_str())).collect();
        assert_eq!(forwards, [("c", "PACS"), ("c", "CLOUD")]);
    }
}
