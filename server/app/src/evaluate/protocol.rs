//! Which cases teach and which are measured.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::cases::{self, Case};
use crate::cli::Failure;

/// A protocol by name: a set, and how many of its first patients teach.
struct Named {
    name: &'static str,
    set: &'static str,
    exemplar_patients: usize,
    /// Patients that are never targets: the same for a protocol and its `-1` variant.
    reserved: usize,
}

const PROTOCOLS: [Named; 8] = [
    Named { name: "chaos-5", set: "chaos-mr", exemplar_patients: 5, reserved: 5 },
    Named { name: "chaos-1", set: "chaos-mr", exemplar_patients: 1, reserved: 5 },
    Named { name: "acdc-5", set: "acdc", exemplar_patients: 5, reserved: 5 },
    Named { name: "acdc-1", set: "acdc", exemplar_patients: 1, reserved: 5 },
    Named { name: "hippo-10", set: "hippocampus", exemplar_patients: 10, reserved: 10 },
    Named { name: "hippo-1", set: "hippocampus", exemplar_patients: 1, reserved: 10 },
    Named { name: "hc18-10", set: "hc18", exemplar_patients: 10, reserved: 10 },
    Named { name: "hc18-1", set: "hc18", exemplar_patients: 1, reserved: 10 },
];

/// The protocol in which slices of the target itself are given.
const SPARSE: &str = "ct-sparse";
const SPARSE_SET: &str = "chaos-ct";
/// Slices given of each target by the sparse protocol.
const SPARSE_SLICES: usize = 5;

/// What is to be measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Named in the report.
    pub name: String,
    /// Cases whose images and SEG are stored.
    pub exemplars: Vec<Case>,
    /// Cases that are segmented and compared.
    pub targets: Vec<Case>,
    /// Slices of each target given as a partial annotation, evenly spaced over the label's extent; 0: none.
    pub given_slices: usize,
}

impl Plan {
    /// Targets that may teach the others when a bank is to hold `patients` that are not the target's own: of the first
    /// patients after the exemplars', as many as are needed.
    pub fn others(&self, patients: usize) -> Vec<Case> {
        let of = |cases: &[Case]| cases.iter().map(|case| case.patient.clone()).collect::<BTreeSet<_>>();
        let taught = of(&self.exemplars).len();
        let needed = if patients > taught { patients + 1 - taught } else { 0 };
        let chosen: BTreeSet<String> = of(&self.targets).into_iter().take(needed).collect();
        self.targets.iter().filter(|case| chosen.contains(&case.patient)).cloned().collect()
    }
}

/// Every protocol's name.
pub fn names() -> Vec<&'static str> {
    PROTOCOLS.iter().map(|p| p.name).chain([SPARSE]).collect()
}

/// A named protocol on the data below `root`: the folder of all sets, or of the protocol's own.
pub fn named(root: &Path, name: &str) -> Result<Plan, Failure> {
    if name == SPARSE {
        let targets = cases::find(&set_folder(root, SPARSE_SET))?;
        return check(Plan { name: name.into(), exemplars: vec![], targets, given_slices: SPARSE_SLICES });
    }
    let protocol = PROTOCOLS.iter().find(|p| p.name == name).ok_or_else(|| {
        Failure::say(format!("there is no protocol \"{name}\"; there are {}", names().join(", ")))
    })?;
    let cases = cases::find(&set_folder(root, protocol.set))?;
    let patients: BTreeSet<&str> = cases.iter().map(|c| c.patient.as_str()).collect();
    let rank = |case: &Case| patients.iter().position(|p| *p == case.patient).unwrap_or(usize::MAX);
    check(Plan {
        name: name.into(),
        exemplars: cases.iter().filter(|c| rank(c) < protocol.exemplar_patients).cloned().collect(),
        targets: cases.iter().filter(|c| rank(c) >= protocol.reserved).cloned().collect(),
        given_slices: 0,
    })
}

/// Cases of one's own: names relative to `root`; a name stands for every case at or below it.
pub fn chosen(root: &Path, exemplars: &[String], targets: &[String]) -> Result<Plan, Failure> {
    let cases = cases::find(root)?;
    let select = |names: &[String]| -> Result<Vec<Case>, Failure> {
        let mut selected = Vec::new();
        for name in names {
            let name = name.trim_end_matches('/');
            let below = format!("{name}/");
            let before = selected.len();
            selected.extend(cases.iter().filter(|c| c.name == name || c.name.starts_with(&below)).cloned());
            if selected.len() == before {
                let message = format!(
                    "no case {name} below {}: a case is a folder with images/ and seg.dcm",
                    root.display()
                );
                return Err(Failure::say(message));
            }
        }
        Ok(selected)
    };
    check(Plan {
        name: "chosen".into(),
        exemplars: select(exemplars)?,
        targets: select(targets)?,
        given_slices: 0,
    })
}

fn set_folder(root: &Path, set: &str) -> PathBuf {
    let folder = root.join(set);
    if folder.is_dir() { folder } else { root.to_path_buf() }
}

fn check(plan: Plan) -> Result<Plan, Failure> {
    if plan.targets.is_empty() {
        return Err(Failure::say(format!("{}: there is no case to measure in that folder", plan.name)));
    }
    if plan.exemplars.is_empty() && plan.given_slices == 0 {
        return Err(Failure::say(format!("{}: there is no exemplar case in that folder", plan.name)));
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for name in names {
            let case = root.path().join("acdc").join(name);
            std::fs::create_dir_all(case.join("images")).unwrap();
            std::fs::write(case.join("seg.dcm"), b"").unwrap();
        }
        root
    }

    fn case_names(cases: &[Case]) -> Vec<&str> {
        cases.iter().map(|c| c.name.as_str()).collect()
    }

    #[test]
    fn all_frames_of_the_first_patients_teach() {
        let names: Vec<String> =
            (1..=7).flat_map(|p| [format!("00{p}/frame01"), format!("00{p}/frame09")]).collect();
        let root = set(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let plan = named(root.path(), "acdc-5").unwrap();
        assert_eq!(plan.exemplars.len(), 10);
        assert_eq!(case_names(&plan.targets), ["006/frame01", "006/frame09", "007/frame01", "007/frame09"]);
        let one = named(&root.path().join("acdc"), "acdc-1").unwrap();
        assert_eq!(case_names(&one.exemplars), ["001/frame01", "001/frame09"]);
        assert_eq!(one.targets, plan.targets);
    }

    #[test]
    fn a_larger_bank_borrows_of_the_targets_one_patient_more_than_it_lacks() {
        let names: Vec<String> =
            (1..=9).flat_map(|p| [format!("00{p}/frame01"), format!("00{p}/frame09")]).collect();
        let root = set(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let plan = named(root.path(), "acdc-5").unwrap();
        assert!(plan.others(5).is_empty());
        let others = plan.others(6);
        assert_eq!(case_names(&others), ["006/frame01", "006/frame09", "007/frame01", "007/frame09"]);
    }

    #[test]
    fn chosen_cases_are_found_by_folder() {
        let root = set(&["a/1", "a/2", "b"]);
        let acdc = root.path().join("acdc");
        let plan = chosen(&acdc, &["a".into()], &["b".into()]).unwrap();
        assert_eq!(case_names(&plan.exemplars), ["a/1", "a/2"]);
        assert!(chosen(&acdc, &["c".into()], &["b".into()]).is_err());
        assert!(named(root.path(), "no-such").is_err());
    }
}
