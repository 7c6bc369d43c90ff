//! Who may know whom (docs/architecture.md), held against what the manifests ask for.

use std::collections::BTreeMap;

use xtask::Result;
use xtask::metadata::{self, Package};

/// The rooms from the ground up. A room may depend on those before it, never on those after it.
const ROOMS: [&str; 15] = [
    "engram-imaging",
    "engram-seg",
    "engram-phantom",
    "engram-report",
    "engram-archive",
    "engram-inference",
    "engram-memory",
    "engram-segmenter",
    "engram-jobs",
    "engram-worklist",
    "engram-routing",
    "engram-workflow",
    "engram-dimse",
    "engram-dicomweb",
    "engram",
];

/// Rooms that must not know these rooms, although they lie below.
const BLIND_TO: [(&str, &[&str]); 8] = [
    ("engram-seg", &["engram-archive"]),
    ("engram-inference", &["engram-*"]),
    ("engram-memory", &["engram-imaging", "engram-seg", "engram-archive"]),
    ("engram-segmenter", &["engram-archive"]),
    // Not to the archive, whose journal keeps the jobs; to everything that a job could be about.
    (
        "engram-jobs",
        &[
            "engram-imaging",
            "engram-seg",
            "engram-report",
            "engram-inference",
            "engram-memory",
            "engram-segmenter",
            "engram-routing",
        ],
    ),
    // As jobs: what a workitem asks for is its performer's to know.
    (
        "engram-worklist",
        &[
            "engram-imaging",
            "engram-seg",
            "engram-inference",
            "engram-memory",
            "engram-segmenter",
            "engram-jobs",
            "engram-routing",
        ],
    ),
    ("engram-routing", &["engram-*"]),
    ("engram-dicomweb", &["engram-inference", "engram-memory", "engram-segmenter"]),
];

/// Outside crates that belong to some rooms alone, in what they ship; their tests may use what they like.
const ONLY_IN: [(&str, &[&str]); 10] = [
    ("sled", &["engram-archive", "engram-memory", "engram-jobs", "engram-worklist", "engram"]),
    ("ort", &["engram-inference"]),
    ("hnsw_rs", &["engram-memory"]),
    ("actix-*", &["engram-dicomweb", "engram"]),
    // What of a room crosses the network as JSON has a schema.
    (
        "utoipa",
        &[
            "engram-segmenter",
            "engram-jobs",
            "engram-routing",
            "engram-workflow",
            "engram-dicomweb",
            "engram",
        ],
    ),
    ("ureq", &["engram"]),
    ("dicom-ul", &["engram-dimse", "engram"]),
    ("dicom-pixeldata", &["engram-imaging"]),
    (
        "dicom-*",
        &[
            "engram-imaging",
            "engram-seg",
            "engram-phantom",
            "engram-report",
            "engram-archive",
            "engram-worklist",
            "engram-routing",
            "engram-workflow",
            "engram-dimse",
            "engram-dicomweb",
            "engram",
        ],
    ),
    ("clap", &["engram"]),
];

/// Crates that look at the rooms from outside.
const NO_ROOMS: [&str; 2] = ["engram-fuzz-targets", "xtask"];

fn rooms() -> Result<BTreeMap<String, Package>> {
    let packages = metadata::read()?.packages.into_iter();
    let is_room = |package: &Package| package.source.is_none() && !NO_ROOMS.contains(&package.name.as_str());
    let rooms = packages.filter(is_room);
    Ok(rooms.map(|package| (package.name.clone(), package)).collect())
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(name == pattern, |prefix| name.starts_with(prefix))
}

#[test]
fn every_crate_is_a_room_and_every_room_a_crate() -> Result<()> {
    let mut expected: Vec<&str> = ROOMS.to_vec();
    expected.sort_unstable();
    assert_eq!(rooms()?.keys().map(String::as_str).collect::<Vec<_>>(), expected);
    Ok(())
}

#[test]
fn a_room_depends_on_rooms_below_it_only() -> Result<()> {
    let height = |name: &str| ROOMS.iter().position(|room| *room == name);
    for (name, package) in rooms()? {
        for dependency in &package.dependencies {
            if let (Some(above), Some(below)) = (height(&name), height(&dependency.name)) {
                assert!(below < above, "{name} must not depend on {}", dependency.name);
            }
        }
    }
    Ok(())
}

#[test]
fn a_room_is_blind_to_what_it_must_never_know() -> Result<()> {
    let rooms = rooms()?;
    for (name, unknown) in BLIND_TO {
        for dependency in rooms[name].dependencies.iter().filter(|dependency| dependency.kind.is_none()) {
            let known = unknown.iter().any(|pattern| matches(pattern, &dependency.name));
            assert!(!known, "{name} must never know {}", dependency.name);
        }
    }
    Ok(())
}

#[test]
fn an_outside_crate_stays_in_its_rooms() -> Result<()> {
    for (name, package) in rooms()? {
        for dependency in package.dependencies.iter().filter(|dependency| dependency.kind.is_none()) {
            for (pattern, homes) in ONLY_IN {
                if matches(pattern, &dependency.name) {
                    assert!(homes.contains(&name.as_str()), "{name} must not use {}", dependency.name);
                }
            }
        }
    }
    Ok(())
}
