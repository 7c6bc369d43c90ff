//! C-FIND (PS3.4 C.4.1): the archive's search, told in data sets.

use std::collections::HashSet;

use dicom_core::value::Value as ElementValue;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use engram_archive::{Archive, Include, Level as SearchLevel, Match, Query};
use snafu::ResultExt;

use crate::encoding::encode;
use crate::identifier::{Identifier, Level};
use crate::{ArchiveSnafu, Error, UnexpectedSnafu};

/// How many matches are held at a time.
const PAGE: usize = 256;

/// The archive's query for an identifier: a page of it.
pub fn query(identifier: &Identifier, offset: usize) -> Query {
    let level = match identifier.level {
        Level::Patient | Level::Study => SearchLevel::Study,
        Level::Series => SearchLevel::Series,
        Level::Image => SearchLevel::Instance,
    };
    Query {
        matches: identifier.keys.clone(),
        include: Include::Attributes(identifier.asked.iter().map(|(tag, _)| *tag).collect()),
        limit: PAGE,
        offset,
        ..Query::at(level)
    }
}

/// Goes through what matches, page by page; a patient once. `take` answers whether to go on.
pub fn find(
    archive: &Archive,
    identifier: &Identifier,
    mut take: impl FnMut(&Match) -> Result<bool, Error>,
) -> Result<(), Error> {
    let mut patients = HashSet::new();
    let mut offset = 0;
    loop {
        let page = archive.search(&query(identifier, offset)).context(ArchiveSnafu)?;
        for found in &page.items {
            let is_another = identifier.level != Level::Patient
                || patients.insert(found.text(tags::PATIENT_ID).unwrap_or_default());
            if is_another && !take(found)? {
                return Ok(());
            }
        }
        if !page.more {
            return Ok(());
        }
        offset += PAGE;
    }
}

/// The response's data set (PS3.4 C.4.1.1.3.2): every attribute that was asked for, empty where the match has none, in
/// UTF-8.
pub fn data_set(
    identifier: &Identifier,
    found: &Match,
    ae_title: &str,
    transfer_syntax: &str,
) -> Result<Vec<u8>, Error> {
    let mut known = found.object();
    known.retain(|key, _| identifier.asked.iter().any(|(tag, _)| is_key_of(key, *tag)));
    let mut object: InMemDicomObject = dicom_json::from_value(serde_json::Value::Object(known))
        .map_err(|error| UnexpectedSnafu { what: format!("metadata that does not read: {error}") }.build())?;
    for (tag, vr) in &identifier.asked {
        if object.get(*tag).is_none() {
            object.put(empty(*tag, *vr));
        }
    }
    let text = |tag, vr, value: &str| DataElement::new(tag, vr, PrimitiveValue::from(value));
    object.put(text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"));
    object.put(text(tags::QUERY_RETRIEVE_LEVEL, VR::CS, identifier.level.text()));
    object.put(text(tags::RETRIEVE_AE_TITLE, VR::AE, ae_title));
    object.put(text(tags::INSTANCE_AVAILABILITY, VR::CS, "ONLINE"));
    encode(&object, transfer_syntax)
}

fn empty(tag: Tag, vr: VR) -> dicom_object::mem::InMemElement {
    match vr {
        VR::SQ => DataElement::new(tag, vr, ElementValue::from(dicom_core::value::DataSetSequence::empty())),
        _ => DataElement::new(tag, vr, PrimitiveValue::Empty),
    }
}

/// Whether that is the attribute's name in the DICOM JSON model.
fn is_key_of(key: &str, tag: Tag) -> bool {
    u32::from_str_radix(key, 16).is_ok_and(|number| number == u32::from(tag.0) << 16 | u32::from(tag.1))
}
