//! Searching as QIDO-RS does.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Slice, open, part10, request_attributes, store};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use engram_archive::{Archive, Include, Level, Match, MatchKey, OrderKey, Query};
use serde_json::{Map, Value};

/// Three patients: study 1 with CT (3 slices) and MR (1), study 2 and 3 with CT (1).
fn filled(root: &std::path::Path) -> Archive {
    let archive = open(root);
    for (study, series, number) in [(1, 1, 10), (1, 1, 9), (1, 1, 2), (2, 1, 1), (3, 1, 1)] {
        let slice = Slice::new(study, series, number);
        let mut object = slice.object();
        object.put(DataElement::new(
            tags::STUDY_DATE,
            VR::DA,
            PrimitiveValue::from(format!("2024010{study}")),
        ));
        object.put(request_attributes(&format!("STEP{study}")));
        store(&archive, &part10(object, uids::EXPLICIT_VR_LITTLE_ENDIAN)).unwrap();
    }
    let mut mr = Slice::new(1, 2, 1).object();
    mr.put(DataElement::new(tags::MODALITY, VR::CS, PrimitiveValue::from("MR")));
    mr.put(DataElement::new(tags::SOP_CLASS_UID, VR::UI, PrimitiveValue::from(uids::MR_IMAGE_STORAGE)));
    mr.put(DataElement::new(tags::ECHO_TIME, VR::DS, PrimitiveValue::from("4.5")));
    store(&archive, &part10(mr, uids::IMPLICIT_VR_LITTLE_ENDIAN)).unwrap();
    archive
}

fn key(tag: Tag, value: &str) -> MatchKey {
    MatchKey { path: vec![tag], value: value.to_owned() }
}

/// What a search finds, by the last part of each UID.
fn found(archive: &Archive, query: &Query, uid: &str) -> Vec<String> {
    let result = archive.search(query).unwrap();
    result
        .items
        .iter()
        .map(|item| item.object()[uid]["Value"][0].as_str().unwrap().replacen("2.25.", "", 1))
        .collect()
}

fn objects(archive: &Archive, query: &Query) -> Vec<Map<String, Value>> {
    archive.search(query).unwrap().items.iter().map(Match::object).collect()
}

#[test]
fn studies_are_found_by_every_sort_of_key() {
    let root = tempfile::tempdir().unwrap();
    let archive = filled(root.path());
    let step = MatchKey {
        path: vec![tags::REQUEST_ATTRIBUTES_SEQUENCE, tags::SCHEDULED_PROCEDURE_STEP_ID],
        value: "STEP3".to_owned(),
    };
    let time = |value: &str| key(tags::STUDY_TIME, value);
    let cases: [(Vec<MatchKey>, &[&str]); 26] = [
        (vec![], &["3", "2", "1"]),
        (vec![key(tags::PATIENT_ID, "P2")], &["2"]),
        (vec![key(tags::PATIENT_ID, "P?")], &["3", "2", "1"]),
        (vec![key(tags::PATIENT_ID, "p2")], &[]),
        (vec![key(tags::ACCESSION_NUMBER, "AP3")], &["3"]),
        (vec![key(tags::STUDY_DATE, "20240102")], &["2"]),
        (vec![key(tags::STUDY_DATE, "20240102-")], &["3", "2"]),
        (vec![key(tags::STUDY_DATE, "-20240102"), key(tags::PATIENT_ID, "P*")], &["2", "1"]),
        (vec![key(tags::PATIENT_NAME, "bench^p1")], &["1"]),
        (vec![key(tags::PATIENT_NAME, "BENCH*")], &["3", "2", "1"]),
        (vec![key(tags::PATIENT_NAME, "*^p3")], &["3"]),
        (vec![key(tags::STUDY_DESCRIPTION, "Synth*")], &["3", "2", "1"]),
        (vec![key(tags::STUDY_DESCRIPTION, "synth*")], &[]),
        (vec![key(tags::MODALITIES_IN_STUDY, "M?\\PT")], &["1"]),
        (vec![key(tags::STUDY_INSTANCE_UID, "2.25.3,2.25.1,2.25.77")], &["3", "1"]),
        (vec![key(tags::MODALITIES_IN_STUDY, "MR")], &["1"]),
        (vec![key(tags::SERIES_INSTANCE_UID, "2.25.2.1")], &["2"]),
        (vec![key(tags::SOP_INSTANCE_UID, "2.25.1.1.9,2.25.3.1.1")], &["3", "1"]),
        (vec![key(tags::MODALITY, "CT"), key(tags::PATIENT_ID, "P1")], &["1"]),
        (vec![key(tags::ECHO_TIME, "4.5")], &["1"]),
        (vec![step], &["3"]),
        (vec![key(tags::ECHO_TIME, "4.5"), key(tags::INSTANCE_NUMBER, "9")], &[]),
        (vec![key(tags::INSTANCE_NUMBER, "9")], &["1"]),
        (vec![key(tags::STUDY_DATE, "20240101-20240103"), time("1016-1020")], &["3", "2"]),
        (vec![key(tags::STUDY_DATE, "20240101-20240103"), time("1015-")], &["3", "2", "1"]),
        (vec![key(tags::REFERRING_PHYSICIAN_NAME, "X")], &[]),
    ];
    for (matches, expected) in cases {
        let query = Query { matches, ..Query::at(Level::Study) };
        assert_eq!(found(&archive, &query, "0020000D"), expected, "{:?}", query.matches);
        assert_eq!(archive.count(&query).unwrap(), expected.len() as u64, "{:?}", query.matches);
    }
    let fuzzy =
        Query { matches: vec![key(tags::PATIENT_NAME, "p2")], fuzzy: true, ..Query::at(Level::Study) };
    assert_eq!(found(&archive, &fuzzy, "0020000D"), ["2"]);
}

#[test]
fn results_carry_what_the_standard_requires() {
    let root = tempfile::tempdir().unwrap();
    let archive = filled(root.path());
    let query = Query { matches: vec![key(tags::PATIENT_ID, "P1")], ..Query::at(Level::Study) };
    let study = archive.search(&query).unwrap().items[0].object();
    assert_eq!(study["00080061"]["Value"], serde_json::json!(["CT", "MR"]));
    assert_eq!(study["00201206"]["Value"][0], 2);
    assert_eq!(study["00201208"]["Value"][0], 4);
    assert_eq!(study["00080056"]["Value"][0], "ONLINE");
    assert_eq!(study["00080090"], serde_json::json!({"vr": "PN"}));
    assert!(!study.contains_key("00081030") || study["00081030"]["vr"] == "LO");

    let query = Query { study_instance_uid: Some("2.25.1".to_owned()), ..Query::at(Level::Series) };
    let series = objects(&archive, &query);
    assert_eq!(series.len(), 2);
    assert_eq!(series[0]["00201209"]["Value"][0], 3);
    assert!(!series[0].contains_key("00100020"), "the study is named in the request");
    let everywhere = objects(&archive, &Query::at(Level::Series));
    assert_eq!((everywhere.len(), &everywhere[0]["00100020"]["Value"][0]), (4, &serde_json::json!("P3")));

    let query = Query {
        study_instance_uid: Some("2.25.1".to_owned()),
        series_instance_uid: Some("2.25.1.2".to_owned()),
        include: Include::Attributes(vec![tags::ECHO_TIME]),
        ..Query::at(Level::Instance)
    };
    let instance = archive.search(&query).unwrap().items[0].object();
    assert_eq!(
        (&instance["00280010"]["Value"][0], &instance["00180081"]["Value"][0]),
        (&16.into(), &4.5.into())
    );
    let all = Query { include: Include::All, ..query };
    let instance = archive.search(&all).unwrap().items[0].object();
    assert!(instance.contains_key("00180050") && !instance.contains_key("7FE00010"));
}

#[test]
fn instances_that_are_named_come_once_and_by_number() {
    let root = tempfile::tempdir().unwrap();
    let archive = filled(root.path());
    let named = "2.25.1.1.9,2.25.1.1.2,2.25.1.1.9,2.25.3.1.1,2.25.77";
    let query = Query { matches: vec![key(tags::SOP_INSTANCE_UID, named)], ..Query::at(Level::Instance) };
    assert_eq!(found(&archive, &query, "00080018"), ["3.1.1", "1.1.2", "1.1.9"]);
    let ct =
        Query { matches: [query.matches.clone(), vec![key(tags::INSTANCE_NUMBER, "2")]].concat(), ..query };
    assert_eq!(found(&archive, &ct, "00080018"), ["1.1.2"]);
}

#[test]
fn instances_come_by_number_and_in_pages() {
    let root = tempfile::tempdir().unwrap();
    let archive = filled(root.path());
    let everything = Query::at(Level::Instance);
    let all = found(&archive, &everything, "00080018");
    assert_eq!(all, ["3.1.1", "2.1.1", "1.1.2", "1.1.9", "1.1.10", "1.2.1"]);
    for limit in 1..=7 {
        let mut pages = Vec::new();
        for offset in (0..).step_by(limit) {
            let query = Query { limit, offset, ..everything.clone() };
            let result = archive.search(&query).unwrap();
            pages.extend(found(&archive, &query, "00080018"));
            assert_eq!(result.more, pages.len() < all.len());
            if !result.more {
                break;
            }
        }
        assert_eq!(pages, all, "in pages of {limit}");
    }
    let ct = Query { matches: vec![key(tags::SOP_CLASS_UID, uids::MR_IMAGE_STORAGE)], ..everything.clone() };
    assert_eq!(found(&archive, &ct, "00080018"), ["1.2.1"]);
    let rows = Query { matches: vec![key(tags::ROWS, "16"), key(tags::INSTANCE_NUMBER, "9")], ..everything };
    assert_eq!(found(&archive, &rows, "00080018"), ["1.1.9"]);
}

#[test]
fn keys_of_one_sequence_are_met_by_one_item() {
    let root = tempfile::tempdir().unwrap();
    let archive = open(root.path());
    let item = |step: &str, procedure: &str| {
        let text = |tag, value: &str| DataElement::new(tag, VR::SH, PrimitiveValue::from(value));
        dicom_object::InMemDicomObject::from_element_iter([
            text(tags::SCHEDULED_PROCEDURE_STEP_ID, step),
            text(tags::REQUESTED_PROCEDURE_ID, procedure),
        ])
    };
    let items = dicom_core::value::DataSetSequence::from(vec![item("S1", "P1"), item("S2", "P2")]);
    let mut object = Slice::new(1, 1, 1).object();
    object.put(DataElement::new(tags::REQUEST_ATTRIBUTES_SEQUENCE, VR::SQ, items));
    store(&archive, &part10(object, uids::EXPLICIT_VR_LITTLE_ENDIAN)).unwrap();
    for (step, procedure, expected) in [("S1", "P1", 1), ("S2", "P*", 1), ("S1", "P2", 0), ("S3", "", 0)] {
        let key = |tag, value: &str| MatchKey {
            path: vec![tags::REQUEST_ATTRIBUTES_SEQUENCE, tag],
            value: value.to_owned(),
        };
        let matches =
            vec![key(tags::SCHEDULED_PROCEDURE_STEP_ID, step), key(tags::REQUESTED_PROCEDURE_ID, procedure)];
        let query = Query { matches, ..Query::at(Level::Series) };
        assert_eq!(archive.count(&query).unwrap(), expected, "{step} {procedure}");
    }
}

#[test]
fn a_total_is_told_where_the_search_came_to_its_end() {
    let root = tempfile::tempdir().unwrap();
    let archive = filled(root.path());
    for (level, total) in [(Level::Study, 3), (Level::Series, 4), (Level::Instance, 6)] {
        let everything = Query::at(level);
        assert_eq!(archive.search(&everything).unwrap().total, Some(total));
        assert_eq!(archive.search(&Query { offset: 2, ..everything.clone() }).unwrap().total, Some(total));
        assert_eq!(archive.search(&Query { limit: 2, ..everything.clone() }).unwrap().total, None);
        assert_eq!(archive.count(&Query { limit: 2, offset: 1, ..everything }).unwrap(), total);
    }
}

#[test]
fn keys_that_do_not_read_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let archive = filled(root.path());
    for value in ["20240101-20249999", "yesterday", "20240102-20240101", "-"] {
        let query = Query { matches: vec![key(tags::STUDY_DATE, value)], ..Query::at(Level::Study) };
        assert!(matches!(archive.search(&query), Err(engram_archive::Error::Key { .. })), "{value}");
    }
}

#[test]
fn results_come_in_the_order_that_is_asked_for() {
    let root = tempfile::tempdir().unwrap();
    let archive = filled(root.path());
    let by = |attribute, descending| OrderKey { attribute, descending };
    let cases: [(Level, Vec<OrderKey>, &str, &[&str]); 6] = [
        (Level::Study, vec![by(tags::STUDY_DATE, false)], "0020000D", &["1", "2", "3"]),
        (Level::Study, vec![by(tags::PATIENT_ID, true)], "0020000D", &["3", "2", "1"]),
        (
            Level::Study,
            vec![by(tags::NUMBER_OF_STUDY_RELATED_SERIES, true), by(tags::STUDY_DATE, false)],
            "0020000D",
            &["1", "2", "3"],
        ),
        (
            Level::Series,
            vec![by(tags::MODALITY, true), by(tags::STUDY_DATE, false)],
            "0020000E",
            &["1.2", "1.1", "2.1", "3.1"],
        ),
        // Absent comes before any value, and what is equal stays as it was.
        (
            Level::Instance,
            vec![by(tags::ECHO_TIME, true), by(tags::INSTANCE_NUMBER, true)],
            "00080018",
            &["1.2.1", "1.1.10", "1.1.9", "1.1.2", "3.1.1", "2.1.1"],
        ),
        (
            Level::Instance,
            vec![by(tags::INSTANCE_NUMBER, false)],
            "00080018",
            &["3.1.1", "2.1.1", "1.2.1", "1.1.2", "1.1.9", "1.1.10"],
        ),
    ];
    for (level, order, uid, expected) in cases {
        let query = Query { order, ..Query::at(level) };
        assert_eq!(found(&archive, &query, uid), expected, "{:?}", query.order);
        for (offset, limit) in [(0, 1), (1, 2), (2, 10), (10, 1)] {
            let page = Query { offset, limit, ..query.clone() };
            let result = archive.search(&page).unwrap();
            let end = expected.len().min(offset + limit);
            assert_eq!(found(&archive, &page, uid), expected.get(offset..end).unwrap_or_default());
            assert_eq!((result.more, result.total), (end < expected.len(), Some(expected.len() as u64)));
        }
        assert_eq!(archive.count(&query).unwrap(), expected.len() as u64);
    }
    assert!(!Level::Study.can_be_ordered_by(tags::MODALITY));
    assert!(Level::Series.can_be_ordered_by(tags::PATIENT_ID));
}

#[test]
fn integers_are_read_with_sign_and_leading_zeros() {
    let root = tempfile::tempdir().unwrap();
    let archive = open(root.path());
    let mut object = Slice::new(1, 1, 1).object();
    for (tag, value) in [(tags::INSTANCE_NUMBER, "0007"), (tags::NUMBER_OF_FRAMES, "+1")] {
        object.put(DataElement::new(tag, VR::IS, PrimitiveValue::from(value)));
    }
    store(&archive, &part10(object, uids::EXPLICIT_VR_LITTLE_ENDIAN)).unwrap();
    let entry = archive.find_instance("2.25.1.1.1").unwrap().unwrap();
    assert_eq!((entry.instance_number, entry.frames), (Some(7), 1));
    let json = archive.instance_json("2.25.1", "2.25.1.1", "2.25.1.1.1").unwrap().unwrap();
    assert_eq!(json["00200013"], serde_json::json!({"vr": "IS", "Value": [7]}));
    let item = archive.search(&Query::at(Level::Instance)).unwrap().items[0].object();
    assert_eq!(item["00083002"]["Value"][0], "1.2.840.10008.1.2.1");
    assert!(!json.contains_key("00083002"));
}
