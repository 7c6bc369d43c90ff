//! Who is told of which workitems (PS3.4 CC.2.3).
//!
//! What an AE says of one workitem counts before what it says of the worklist; only the end of its subscription to the
//! worklist ends both (Table CC.2.3-2). A subscription to the worklist may name keys that workitems must match. Suspended,
//! it takes in no workitem that is created later.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part04.html#sect_CC.2.3>

use crate::{
    Error, Result,
    error::{BadAeTitleSnafu, KeySnafu},
    record::Record,
};
use dicom_core::Tag;
use engram_archive::{Keys, MatchKey, MatchRules};
use serde::{Deserialize, Serialize};
use snafu::ResultExt;
use std::{collections::BTreeMap, fmt};

/// An application entity's title (PS3.5, VR AE): 1 to 16 characters, no backslash, no control character.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AeTitle(String);

impl AeTitle {
    /// Reads a title; spaces around it do not count.
    pub fn parse(text: &str) -> Result<Self> {
        let title = text.trim();
        let is_title = (1..=16).contains(&title.len())
            && title.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'\\');
        match is_title {
            true => Ok(AeTitle(title.to_owned())),
            false => BadAeTitleSnafu { text: text.chars().take(40).collect::<String>() }.fail(),
        }
    }
}

impl fmt::Display for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a subscription is to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One workitem, by its SOP Instance UID.
    Workitem(String),
    /// The worklist: 1.2.840.10008.5.1.4.34.5.
    Worklist,
    /// What matches in it: 1.2.840.10008.5.1.4.34.5.1.
    Filtered(Filter),
}

/// Keys that workitems must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Paths of tags, each as a number, and values.
    keys: Vec<(Vec<u32>, String)>,
}

impl Filter {
    /// A filter by these keys.
    pub fn new(keys: impl IntoIterator<Item = MatchKey>) -> Self {
        let number = |tag: Tag| u32::from(tag.group()) << 16 | u32::from(tag.element());
        let keys = keys.into_iter().map(|key| (key.path.into_iter().map(number).collect(), key.value));
        Filter { keys: keys.collect() }
    }

    fn keys(&self) -> Result<Keys> {
        let tag = |number: &u32| Tag((number >> 16) as u16, (number & 0xffff) as u16);
        let read = |(path, value): &(Vec<u32>, String)| MatchKey {
            path: path.iter().map(tag).collect(),
            value: value.clone(),
        };
        let keys: Vec<MatchKey> = self.keys.iter().map(read).collect();
        Keys::new(&keys, MatchRules::default()).context(KeySnafu)
    }
}

/// An AE's subscription to the worklist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Global {
    pub lock: bool,
    pub filter: Option<Filter>,
    /// Workitems from this number on are not taken in: it was suspended.
    pub until: Option<u64>,
}

/// Subscriptions to the worklist: of an AE, to all of it or to what it filters.
#[derive(Default)]
pub(crate) struct Globals {
    by_ae: BTreeMap<(AeTitle, bool), (Global, Option<Keys>)>,
}

impl Globals {
    pub(crate) fn insert(&mut self, ae_title: AeTitle, global: Global) -> Result<(), Error> {
        let keys = global.filter.as_ref().map(Filter::keys).transpose()?;
        self.by_ae.insert((ae_title, global.filter.is_some()), (global, keys));
        Ok(())
    }

    pub(crate) fn remove(&mut self, ae_title: &AeTitle, filtered: bool) -> bool {
        self.by_ae.remove(&(ae_title.clone(), filtered)).is_some()
    }

    pub(crate) fn get(&self, ae_title: &AeTitle, filtered: bool) -> Option<&Global> {
        self.by_ae.get(&(ae_title.clone(), filtered)).map(|(global, _)| global)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_ae.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&AeTitle, &Global)> {
        self.by_ae.iter().map(|((ae_title, _), (global, _))| (ae_title, global))
    }

    /// Whether the AE is subscribed to the worklist, wholly or in part.
    pub(crate) fn has(&self, ae_title: &AeTitle) -> bool {
        [true, false].into_iter().any(|filtered| self.get(ae_title, filtered).is_some())
    }

    /// Who is told of a workitem, and whether with a deletion lock.
    pub(crate) fn subscribers(&self, record: &Record) -> BTreeMap<AeTitle, bool> {
        let mut subscribers = BTreeMap::new();
        for ((ae_title, _), (global, keys)) in &self.by_ae {
            let is_in_time = global.until.is_none_or(|until| record.sequence < until);
            if is_in_time && keys.as_ref().is_none_or(|keys| keys.take(&record.attributes)) {
                *subscribers.entry(ae_title.clone()).or_default() |= global.lock;
            }
        }
        for (ae_title, own) in &record.subscribers {
            match own {
                Some(lock) => drop(subscribers.insert(ae_title.clone(), *lock)),
                None => drop(subscribers.remove(ae_title)),
            }
        }
        subscribers
    }

    /// Whether someone holds a deletion lock on the workitem.
    pub(crate) fn lock(&self, record: &Record) -> bool {
        self.subscribers(record).into_values().any(|lock| lock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_those_of_the_standard() {
        for good in ["WATCHER", " WATCHER ", "a", "With space", "1234567890123456"] {
            assert_eq!(AeTitle::parse(good).unwrap().to_string(), good.trim());
        }
        for bad in ["", "   ", "12345678901234567", "A\\B", "A\nB", "Ä"] {
            assert!(AeTitle::parse(bad).is_err(), "{bad:?}");
        }
    }
}
