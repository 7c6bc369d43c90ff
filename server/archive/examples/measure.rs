//! Measures storing and searching.
//!
//! `measure FOLDER SERIES SLICES SIDE`: stores SERIES series of SLICES slices of SIDE x SIDE pixels, one
//! request a series, then searches.

#![allow(clippy::unwrap_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use common::Slice;
use dicom_dictionary_std::tags;
use engram_archive::{Archive, ArchiveOptions, InstanceUids, Level, MatchKey, Query, StoreRequirements};
use std::{
    error::Error,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [root, series, slices, side] = arguments.as_slice() else {
        return Err("usage: measure FOLDER SERIES SLICES SIDE".into());
    };
    let (root, series, slices, side) =
        (Path::new(root), series.parse::<u32>()?, slices.parse::<i32>()?, side.parse()?);
    let db = sled::open(root.join("db"))?;
    let archive = Archive::open(root, &db, ArchiveOptions::new(root.join("db")))?;
    let mut times = Vec::new();
    for study in 1..=series {
        let objects: Vec<_> =
            (1..=slices).map(|number| Slice { side, ..Slice::new(study, 1, number) }.bytes()).collect();
        let start = Instant::now();
        let mut tickets = Vec::new();
        for bytes in &objects {
            let mut incoming = archive.incoming()?;
            incoming.write_all(bytes)?;
            tickets.push(archive.submit(incoming, &StoreRequirements::default()));
        }
        for ticket in tickets {
            ticket.wait()?;
        }
        times.push(start.elapsed());
    }
    report("store a series", times);

    let time = |what: &str, run: &dyn Fn() -> usize| {
        let mut times = Vec::new();
        let mut count = 0;
        for _ in 0..20 {
            let start = Instant::now();
            count = run();
            times.push(start.elapsed());
        }
        report(&format!("{what} ({count})"), times);
    };
    let search = |query: Query| archive.search(&query).map_or(0, |result| result.items.len());
    let key = |tag, value: &str| vec![MatchKey { path: vec![tag], value: value.to_owned() }];
    let study = || Some(format!("2.25.{}", series / 2 + 1));
    time("studies by PatientID", &|| {
        search(Query { matches: key(tags::PATIENT_ID, "P1"), ..Query::at(Level::Study) })
    });
    time("studies by PatientName, unindexed", &|| {
        search(Query { matches: key(tags::PATIENT_NAME, "*P7"), ..Query::at(Level::Study) })
    });
    time("100 instances of a series", &|| {
        let series_instance_uid = study().map(|study| format!("{study}.1"));
        search(Query {
            study_instance_uid: study(),
            series_instance_uid,
            limit: 100,
            ..Query::at(Level::Instance)
        })
    });
    time("100 instances of all, offset at the middle", &|| {
        let offset = (series as usize) * (slices as usize) / 2;
        search(Query { limit: 100, offset, ..Query::at(Level::Instance) })
    });
    time("bytes of a study's metadata", &|| {
        let bulk = |_: &InstanceUids| "../".to_owned();
        let chunks = archive.metadata(&study().unwrap_or_default(), None, None, &bulk).ok().flatten();
        chunks.into_iter().flatten().map(|chunk| chunk.map_or(0, |chunk| chunk.len())).sum()
    });
    let start = Instant::now();
    let statistics = archive.statistics()?;
    println!("statistics {:?} in {:?}", statistics, start.elapsed());
    let start = Instant::now();
    let findings = archive.check(false, &mut |_| {})?.findings.len();
    println!("check: {findings} findings in {:?}", start.elapsed());
    Ok(())
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    println!("{what}: p50 {:?}, p99 {:?}", at(50), at(99));
}
