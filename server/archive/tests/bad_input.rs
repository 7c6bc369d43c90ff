//! Objects that must be refused, each by its own reason, and never half stored.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Slice, assert_consistent, open, open_with, part10, receive, store};
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use engram_archive::{Archive, StoreError, StoreRequirements};
use proptest::prelude::*;
use std::io::{ErrorKind, Write};

fn refused(archive: &Archive, bytes: &[u8]) -> StoreError {
    store(archive, bytes).unwrap_err().error
}

/// The slice with one element changed.
fn changed(change: impl FnOnce(&mut InMemDicomObject)) -> Vec<u8> {
    let mut object = Slice::new(1, 1, 1).object();
    change(&mut object);
    let meta = dicom_object::FileMetaTableBuilder::new()
        .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
        .media_storage_sop_class_uid(uids::CT_IMAGE_STORAGE)
        .media_storage_sop_instance_uid("2.25.1.1.1");
    let mut bytes = Vec::new();
    object.with_exact_meta(meta.build().unwrap()).write_all(&mut bytes).unwrap();
    bytes
}

fn uid(tag: dicom_core::Tag, value: &str) -> DataElement<InMemDicomObject> {
    DataElement::new(tag, VR::UI, PrimitiveValue::from(value))
}

/// Where the first bytes like these lie.
fn find(bytes: &[u8], like: &[u8]) -> usize {
    bytes.windows(like.len()).position(|window| window == like).unwrap()
}

#[test]
fn each_sort_of_bad_object_has_its_answer() {
    let root = tempfile::tempdir().unwrap();
    let archive = open(root.path());
    let good = Slice::new(1, 1, 1).bytes();
    let pixels = find(&good, &[0xE0, 0x7F, 0x10, 0x00, b'O', b'W']);
    let cut = |end: usize| good[..end].to_vec();
    let patched = |at: usize, with: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + with.len()].copy_from_slice(with);
        bytes
    };
    let data_set = find(&good, &[0x08, 0x00, 0x05, 0x00, b'C', b'S']);
    let study_length = find(&good, &[0x20, 0x00, 0x0D, 0x00, b'U', b'I']) + 6;
    let unknown_syntax = {
        let at = find(&good, uids::EXPLICIT_VR_LITTLE_ENDIAN.as_bytes());
        patched(at, b"1.2.840.10008.1.2.9")
    };
    type Check = fn(&StoreError) -> bool;
    let cases: Vec<(&str, Vec<u8>, u16, Check)> = vec![
        ("nothing", Vec::new(), 0xC000, |e| matches!(e, StoreError::NotDicom)),
        ("text", b"<html>".repeat(100), 0xC000, |e| matches!(e, StoreError::NotDicom)),
        ("a preamble alone", cut(132), 0xC000, |e| matches!(e, StoreError::Truncated { .. })),
        ("half a header", cut(401), 0xC000, |e| matches!(e, StoreError::Truncated { .. })),
        ("half the pixels", cut(pixels + 100), 0xC000, |e| matches!(e, StoreError::Truncated { .. })),
        ("all but one byte", cut(good.len() - 1), 0xC000, |e| matches!(e, StoreError::Truncated { .. })),
        ("no pixels, cut where they begin", cut(pixels), 0xC000, |e| {
            matches!(e, StoreError::Truncated { .. })
        }),
        ("a byte too many", [good.clone(), vec![0]].concat(), 0xC000, |e| {
            matches!(e, StoreError::Truncated { .. })
        }),
        (
            "a length that lies",
            patched(pixels + 8, &[0xF0, 0xFF, 0xFF, 0x7F]),
            0xC000,
            |e| matches!(e, StoreError::Truncated { element, .. } if element.contains("PixelData")),
        ),
        ("pixels that never end", patched(pixels + 8, &[0xFF; 4]), 0xC000, |e| {
            matches!(e, StoreError::Malformed { .. })
        }),
        ("a UID's length that lies", patched(study_length, &[0xFF, 0xFF]), 0xC000, |e| {
            matches!(e, StoreError::Truncated { .. })
        }),
        ("no meta group", [&good[..132], &good[data_set..]].concat(), 0xC000, |e| {
            matches!(e, StoreError::Malformed { .. })
        }),
        ("an unknown transfer syntax", unknown_syntax, 0xC122, |e| {
            matches!(e, StoreError::TransferSyntax { .. })
        }),
        (
            "no study",
            changed(|o| {
                o.remove_element(tags::STUDY_INSTANCE_UID);
            }),
            0xC000,
            |e| matches!(e, StoreError::MissingUid { attribute: "StudyInstanceUID" }),
        ),
        (
            "an empty series",
            changed(|o| {
                o.put(uid(tags::SERIES_INSTANCE_UID, ""));
            }),
            0xC000,
            |e| matches!(e, StoreError::MissingUid { attribute: "SeriesInstanceUID" }),
        ),
        (
            "a path for a UID",
            changed(|o| {
                o.put(uid(tags::STUDY_INSTANCE_UID, "../../../x"));
            }),
            0xC000,
            |e| matches!(e, StoreError::BadUid { .. }),
        ),
        (
            "a UID of dots",
            changed(|o| {
                o.put(uid(tags::SERIES_INSTANCE_UID, ".."));
            }),
            0xC000,
            |e| matches!(e, StoreError::BadUid { .. }),
        ),
        (
            "another class",
            changed(|o| {
                o.put(uid(tags::SOP_CLASS_UID, uids::MR_IMAGE_STORAGE));
            }),
            0xA900,
            |e| matches!(e, StoreError::MetaMismatch { attribute: "SOPClassUID", .. }),
        ),
    ];
    for (name, bytes, reason, check) in cases {
        let error = refused(&archive, &bytes);
        assert!(check(&error), "{name}: {error:?}");
        assert_eq!(error.failure_reason(), reason, "{name}");
    }
    assert_eq!(archive.statistics().unwrap().instances, 0);
    assert_eq!(std::fs::read_dir(root.path().join("incoming")).unwrap().count(), 0);
    store(&archive, &good).unwrap();
    assert_consistent(&archive);
}

#[test]
fn limits_are_kept() {
    let root = tempfile::tempdir().unwrap();
    let archive = open_with(root.path(), |options| {
        options.max_instance_bytes = 2000;
        options.max_metadata_bytes = 8000;
    });
    let big = Slice { side: 64, ..Slice::new(1, 1, 1) };
    let failure = archive.store(receive(&archive, &big.bytes()), &StoreRequirements::default()).unwrap_err();
    assert!(matches!(failure.error, StoreError::TooLarge { limit: 2000 }));
    assert_eq!(failure.error.failure_reason(), 0xA700);
    // A deflated data set that inflates beyond the limit.
    let bomb = part10(big.object(), uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN);
    assert!(bomb.len() < 2000, "{}", bomb.len());
    assert!(matches!(refused(&archive, &bomb), StoreError::TooLarge { .. }));
    store(&archive, &Slice::new(1, 1, 2).bytes()).unwrap();
    assert_consistent(&archive);
}

#[test]
fn nothing_is_received_where_too_little_is_free() {
    let root = tempfile::tempdir().unwrap();
    let archive = open_with(root.path(), |options| options.min_free_bytes = u64::MAX);
    let mut incoming = archive.incoming().unwrap();
    let error = incoming.write(&Slice::new(1, 1, 1).bytes()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    let failure = archive.store(incoming, &StoreRequirements::default()).unwrap_err();
    assert!(matches!(failure.error, StoreError::NoSpace) && failure.error.is_ours());
    assert_eq!(failure.error.failure_reason(), 0xA700);
    assert_consistent(&archive);
    drop(archive);
    let archive = open_with(root.path(), |options| options.min_free_bytes = 1);
    store(&archive, &Slice::new(1, 1, 1).bytes()).unwrap();
}

#[test]
fn sequences_that_nest_too_deep_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let archive = open(root.path());
    let nested = |depth: usize| {
        changed(|object| {
            let mut inner = InMemDicomObject::new_empty();
            for _ in 0..depth {
                let items = dicom_core::value::DataSetSequence::from(vec![inner]);
                inner = InMemDicomObject::from_element_iter([DataElement::new(
                    tags::CONTENT_SEQUENCE,
                    VR::SQ,
                    items,
                )]);
            }
            object.put(inner.take_element(tags::CONTENT_SEQUENCE).unwrap());
        })
    };
    assert!(matches!(refused(&archive, &nested(40)), StoreError::Malformed { .. }));
    store(&archive, &nested(20)).unwrap();
    assert_eq!(
        archive.instance_json("2.25.1", "2.25.1.1", "2.25.1.1.1").unwrap().unwrap()["0040A730"]["vr"],
        "SQ"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happens to an object on its way, it is stored whole or refused; the archive goes on.
    #[test]
    fn damage_never_panics_and_never_half_stores(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(), is_cut in any::<bool>(), deflated in any::<bool>(),
    ) {
        thread_local!(static ARCHIVE: (tempfile::TempDir, Archive) = {
            let root = tempfile::tempdir().unwrap();
            let archive = open(root.path());
            (root, archive)
        });
        ARCHIVE.with(|(_, archive)| {
            let syntax = if deflated { uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN } else { uids::EXPLICIT_VR_LITTLE_ENDIAN };
            let mut object = Slice::new(1, 1, 1).object();
            object.put(common::request_attributes("STEP"));
            let mut bytes = part10(object, syntax);
            for (at, value) in damage {
                // Beyond the preamble, which means nothing.
                let at = 128 + at.index(bytes.len() - 128);
                bytes[at] = value;
            }
            if is_cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            if let Ok(outcome) = store(archive, &bytes) {
                let uids = &outcome.instance().uids;
                let json = archive.instance_json(&uids.study_instance_uid, &uids.series_instance_uid, &uids.sop_instance_uid);
                assert!(json.unwrap().is_some());
            }
        });
    }
}
