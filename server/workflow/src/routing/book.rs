//! The rules in force: those of the configuration, then those that were made by API, which are primary state.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use engram_archive::{Journal, JournalError};
use engram_routing::Rule;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use snafu::{OptionExt, ResultExt, ensure};
use utoipa::ToSchema;

use crate::error::{BadRuleSnafu, JournalSnafu, NoSuchRuleSnafu, Result, RuleOfConfigurationSnafu};
use crate::request::RequestOptions;
use crate::{Error, Workflow, report};

/// Rules that can be made by API.
const MAX_ADDED: usize = 1000;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
enum Record {
    Put { rule: Box<Rule> },
    Removed { name: String },
}

/// Where a rule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RuleOrigin {
    /// In the configuration, which alone can change it.
    Configuration,
    /// Made by API.
    Api,
}

/// A rule as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RuleView {
    /// Where it stands.
    pub origin: RuleOrigin,
    /// What it says.
    #[serde(flatten)]
    pub rule: Rule,
}

/// The rules in force.
pub(crate) struct Rules {
    configured: Vec<Rule>,
    journal: Journal<Record>,
    added: Mutex<BTreeMap<String, Rule>>,
    current: RwLock<Arc<[Rule]>>,
}

impl Rules {
    /// Replays the journal at `path`. Of two rules of one name, the configuration's counts.
    pub fn open(path: &Path, configured: Vec<Rule>) -> Result<Self, JournalError> {
        let mut added = BTreeMap::new();
        let journal = Journal::open(path, |record| apply(&mut added, record))?;
        let kept: Vec<Record> =
            added.values().map(|rule: &Rule| Record::Put { rule: Box::new(rule.clone()) }).collect();
        journal.rewrite(&kept)?;
        let rules = Self { configured, journal, added: Mutex::new(added), current: RwLock::default() };
        rules.refresh(&rules.added.lock());
        Ok(rules)
    }

    /// The rules, in the order in which they count.
    pub fn current(&self) -> Arc<[Rule]> {
        Arc::clone(&self.current.read())
    }

    fn is_configured(&self, name: &str) -> bool {
        self.configured.iter().any(|rule| rule.name == name)
    }

    fn views(&self) -> Vec<RuleView> {
        let view = |rule: &Rule| RuleView {
            origin: if self.is_configured(&rule.name) { RuleOrigin::Configuration } else { RuleOrigin::Api },
            rule: rule.clone(),
        };
        self.current().iter().map(view).collect()
    }

    fn put(&self, rule: Rule) -> Result<()> {
        let mut added = self.added.lock();
        if added.len() >= MAX_ADDED && !added.contains_key(&rule.name) {
            return BadRuleSnafu { problem: format!("there are {MAX_ADDED} rules already") }.fail();
        }
        self.keep(&mut added, Record::Put { rule: Box::new(rule) })
    }

    fn remove(&self, name: &str) -> Result<()> {
        let mut added = self.added.lock();
        added.get(name).context(NoSuchRuleSnafu { name })?;
        self.keep(&mut added, Record::Removed { name: name.to_owned() })
    }

    fn keep(&self, added: &mut BTreeMap<String, Rule>, record: Record) -> Result<()> {
        self.journal.append(&record).context(JournalSnafu)?;
        apply(added, record);
        self.refresh(added);
        Ok(())
    }

    fn refresh(&self, added: &BTreeMap<String, Rule>) {
        let added = added.values().filter(|rule| !self.is_configured(&rule.name));
        *self.current.write() = self.configured.iter().chain(added).cloned().collect();
    }
}

fn apply(added: &mut BTreeMap<String, Rule>, record: Record) {
    match record {
        Record::Put { rule } => drop(added.insert(rule.name.clone(), *rule)),
        Record::Removed { name } => drop(added.remove(&name)),
    }
}

impl Workflow {
    /// The rules in force, in the order in which they count.
    pub fn rules(&self) -> Vec<RuleView> {
        self.rules.views()
    }

    /// Takes a rule into force, in the place of one of its name that was made by API. Durable when it returns.
    ///
    /// # Errors
    /// [`Error::BadRule`]; [`Error::RuleOfConfiguration`] where the configuration has one of its name.
    pub fn put_rule(&self, rule: Rule) -> Result<()> {
        ensure!(!self.rules.is_configured(&rule.name), RuleOfConfigurationSnafu { name: rule.name });
        self.check_rule(&rule)?;
        self.rules.put(rule)
    }

    /// Takes a rule that was made by API out of force. Durable when it returns.
    ///
    /// # Errors
    /// [`Error::NoSuchRule`]; [`Error::RuleOfConfiguration`].
    pub fn remove_rule(&self, name: &str) -> Result<()> {
        ensure!(!self.rules.is_configured(name), RuleOfConfigurationSnafu { name });
        self.rules.remove(name)
    }

    /// Whether the configuration's rules can work here. One made by API that no longer can is told of in the log.
    ///
    /// # Errors
    /// [`Error::BadRule`].
    pub fn check_rules(&self) -> Result<()> {
        for view in self.rules() {
            match self.check_rule(&view.rule) {
                Err(error) if view.origin == RuleOrigin::Api => {
                    tracing::warn!(rule = view.rule.name, error = %report(&error), "a rule cannot work any more");
                }
                checked => checked?,
            }
        }
        Ok(())
    }

    /// Whether the rule can work here: what it says makes sense, and the nodes that it names exist.
    ///
    /// # Errors
    /// [`Error::BadRule`].
    pub fn check_rule(&self, rule: &Rule) -> Result<()> {
        let problem = engram_routing::problem(rule).or_else(|| {
            let nodes = rule.send.iter().map(|send| &send.to).chain(&rule.then.forward);
            let mut unknown = nodes.filter(|name| self.node(name).is_none());
            unknown.next().map(|name| {
                format!(
                    "rule {:?}: no node is called {name:?}; there are {}",
                    rule.name,
                    self.names_of_nodes()
                )
            })
        });
        if let Some(problem) = problem {
            return BadRuleSnafu { problem }.fail();
        }
        rule.then.segment.as_ref().map_or(Ok(()), |segment| options_of(&segment.options).map(drop))
    }
}

/// The options of a request in a rule's words.
pub(super) fn options_of(words: &serde_json::Map<String, serde_json::Value>) -> Result<RequestOptions> {
    serde_json::from_value(serde_json::Value::Object(words.clone()))
        .map_err(|error| Error::BadRule { problem: format!("`segment` of a rule: {error}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, priority: i32) -> Rule {
        Rule { priority, ..serde_json::from_value(serde_json::json!({ "name": name })).unwrap() }
    }

    fn names(rules: &Rules) -> Vec<(String, i32, RuleOrigin)> {
        rules.views().into_iter().map(|view| (view.rule.name, view.rule.priority, view.origin)).collect()
    }

    #[test]
    fn rules_made_by_api_outlive_the_process_and_the_configuration_counts_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rules.journal");
        {
            let rules = Rules::open(&path, vec![rule("fixed", 1)]).unwrap();
            rules.put(rule("b", 2)).unwrap();
            rules.put(rule("a", 3)).unwrap();
            rules.put(rule("b", 4)).unwrap();
            rules.put(rule("gone", 5)).unwrap();
            rules.remove("gone").unwrap();
            assert!(matches!(rules.remove("gone"), Err(Error::NoSuchRule { .. })));
        }
        let rules = Rules::open(&path, vec![rule("a", 9)]).unwrap();
        let expected = [("a".into(), 9, RuleOrigin::Configuration), ("b".into(), 4, RuleOrigin::Api)];
        assert_eq!(names(&rules), expected);
        // What the configuration covered comes back with its going.
        let rules = Rules::open(&path, vec![]).unwrap();
        assert_eq!(names(&rules), [("a".into(), 3, RuleOrigin::Api), ("b".into(), 4, RuleOrigin::Api)]);
    }
}
