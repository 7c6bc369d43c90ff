//! What is transferred.

use engram_archive::{Archive, InstanceEntry};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What to retrieve, or to send: a study, series of it, or instances of one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Objects {
    /// StudyInstanceUID.
    pub study: String,
    /// SeriesInstanceUIDs; none for the whole study.
    #[serde(default)]
    pub series: Vec<String>,
    /// SOPInstanceUIDs of the one series that is named; none for whole series.
    #[serde(default)]
    pub instances: Vec<String>,
}

impl Objects {
    /// What is wrong with them.
    pub fn problem(&self) -> Option<&'static str> {
        let mut named = std::iter::once(&self.study).chain(&self.series).chain(&self.instances);
        if !named.all(|uid| is_uid(uid)) {
            return Some("a UID has 1 to 64 digits and dots");
        }
        (!self.instances.is_empty() && self.series.len() != 1)
            .then_some("instances need the one series that they are of")
    }

    /// The instances that are stored of them.
    pub fn stored(&self, archive: &Archive) -> engram_archive::Result<Vec<InstanceEntry>> {
        let mut series = self.series.clone();
        if series.is_empty() {
            series.extend(archive.series(&self.study)?.into_iter().map(|entry| entry.series_instance_uid));
        }
        let mut entries = Vec::new();
        for one in &series {
            entries.extend(archive.instances(&self.study, one)?);
        }
        entries.retain(|entry| {
            self.instances.is_empty() || self.instances.contains(&entry.uids.sop_instance_uid)
        });
        Ok(entries)
    }
}

/// Whether it can stand in a path, and in a key without being a wildcard.
pub fn is_uid(text: &str) -> bool {
    let is_component = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (1..=64).contains(&text.len()) && text.split('.').all(is_component)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_by_their_uids_and_instances_with_their_series() {
        let objects = |study: &str, series: &[&str], instances: &[&str]| Objects {
            study: study.into(),
            series: series.iter().map(|uid| uid.to_string()).collect(),
            instances: instances.iter().map(|uid| uid.to_string()).collect(),
        };
        for (objects, is_fine) in [
            (objects("1.2", &[], &[]), true),
            (objects("1.2", &["1.3", "1.4"], &[]), true),
            (objects("1.2", &["1.3"], &["1.5", "1.6"]), true),
            (objects("", &[], &[]), false),
            (objects("1.2.*", &[], &[]), false),
            (objects("..", &[], &[]), false),
            (objects("1.2", &[], &["1.5"]), false),
            (objects("1.2", &["1.3", "1.4"], &["1.5"]), false),
        ] {
            assert_eq!(objects.problem().is_none(), is_fine, "{objects:?}");
        }
    }
}
