//! From parameters to the archive's query, and from its matches to DICOM JSON.

use bytes::Bytes;
use dicom_dictionary_std::tags;
use engram_archive::{Archive, Include, Level, Match, MatchKey, OrderKey, Query};
use serde_json::json;
use snafu::ResultExt;

use crate::error::{ArchiveSnafu, BadQuerySnafu, Result, WriteXmlSnafu};
use crate::native_model;
use crate::place::Place;
use crate::query::{self, attribute, flag};
use crate::state::Urls;

/// What a search found.
pub struct Found {
    /// What matches, with RetrieveURL.
    pub items: Vec<Match>,
    /// Whether there is more beyond the limit.
    pub more: bool,
    /// How many matches there are in all, where that costs no more than the search did.
    pub total: Option<u64>,
}

impl Found {
    /// The matches as a JSON array.
    pub fn json(&self) -> Vec<u8> {
        let mut array = vec![b'['];
        for (index, item) in self.items.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            array.extend_from_slice(comma.as_bytes());
            item.write(&mut array);
        }
        array.push(b']');
        array
    }

    /// The matches as XML documents.
    pub fn xml(&self) -> Result<Vec<Bytes>> {
        let document = |item: &Match| {
            let mut json = Vec::new();
            item.write(&mut json);
            native_model::write(&json).map(Bytes::from).context(WriteXmlSnafu)
        };
        self.items.iter().map(document).collect()
    }
}

/// Reads the parameters of PS3.18 8.3.4: attributes to match, and how; `includefield`, `limit`, `offset`.
/// An attribute nobody knows is refused, so that a misspelt one does not match everything.
///
/// <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_8.3.4>
pub fn query(level: Level, place: Option<Place>, pairs: &[(String, String)], most: usize) -> Result<Query> {
    let mut query = Query { limit: most, ..Query::at(level) };
    if let Some(place) = place {
        query.study_instance_uid = Some(place.study);
        query.series_instance_uid = place.series;
    }
    for (name, value) in pairs {
        match name.as_str() {
            "limit" => query.limit = query::count(name, value)?.min(most),
            "offset" => query.offset = query::count(name, value)?,
            "fuzzymatching" => query.fuzzy = flag(name, value)?,
            "emptyvaluematching" => query.empty_value_matching = flag(name, value)?,
            "multiplevaluematching" => query.multiple_value_matching = flag(name, value)?,
            "includefield" => include(&mut query.include, value)?,
            "orderby" => order(&mut query.order, level, value)?,
            // Of the request as a whole (PS3.18 8.3.3).
            "accept" => {}
            "charset" => query::utf_8(value)?,
            _ => query.matches.push(MatchKey { path: attribute(name)?, value: value.clone() }),
        }
    }
    Ok(query)
}

/// Reads one `orderby`: attributes separated by commas, from the last value to the first behind a `-`. It is no parameter of the
/// standard's; dcm4chee has it so.
fn order(order: &mut Vec<OrderKey>, level: Level, value: &str) -> Result<()> {
    for field in value.split(',').map(str::trim).filter(|field| !field.is_empty()) {
        let (name, descending) = match field.strip_prefix('-') {
            Some(name) => (name, true),
            None => (field.trim_start_matches('+'), false),
        };
        match attribute(name)?.as_slice() {
            [attribute] if level.can_be_ordered_by(*attribute) => {
                order.push(OrderKey { attribute: *attribute, descending });
            }
            _ => {
                let message = format!("results of this level cannot be put in order by `{name}`");
                return BadQuerySnafu { message }.fail();
            }
        }
    }
    Ok(())
}

/// Adds one `includefield`: `all`, or attributes separated by commas. Of a path into a sequence, the sequence; with a private
/// element, whose it is.
pub fn include(include: &mut Include, value: &str) -> Result<()> {
    for field in value.split(',').filter(|field| !field.is_empty()) {
        if field == "all" {
            *include = Include::All;
        } else if let (path, Include::Attributes(tags)) = (attribute(field)?, &mut *include) {
            tags.extend(path.first());
            tags.extend(path.first().copied().and_then(query::private_creator));
        }
    }
    Ok(())
}

/// Searches. Blocks on the archive.
pub fn search(archive: &Archive, query: &Query, urls: &Urls) -> Result<Found> {
    let mut result = archive.search(query).context(ArchiveSnafu)?;
    for item in &mut result.items {
        if let Some(url) = retrieve_url(query.level, item, urls) {
            item.insert(tags::RETRIEVE_URL, json!({ "vr": "UR", "Value": [url] }).to_string().into());
        }
    }
    let total = match result.total {
        None if is_cheap_to_count(query) => Some(archive.count(query).context(ArchiveSnafu)?),
        total => total,
    };
    Ok(Found { items: result.items, more: result.more, total })
}

/// Counts. Blocks on the archive.
pub fn count(archive: &Archive, query: &Query) -> Result<u64> {
    archive.count(query).context(ArchiveSnafu)
}

/// Whether the archive knows the count from the records of one study alone. Beyond it, a count looks at all studies,
/// which a page of a search must not cost: `/count` tells then.
fn is_cheap_to_count(query: &Query) -> bool {
    query.study_instance_uid.is_some() && query.matches.is_empty()
}

/// RetrieveURL (0008,1190) of a match, from its UIDs.
fn retrieve_url(level: Level, item: &Match, urls: &Urls) -> Option<String> {
    let study = item.text(tags::STUDY_INSTANCE_UID)?;
    let series = || item.text(tags::SERIES_INSTANCE_UID);
    Some(match level {
        Level::Study => urls.retrieve(&study, None, None),
        Level::Series => urls.retrieve(&study, Some(&series()?), None),
        Level::Instance => urls.retrieve(&study, Some(&series()?), Some(&item.text(tags::SOP_INSTANCE_UID)?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::pairs;
    use dicom_core::Tag;
    use dicom_dictionary_std::tags;

    fn read(text: &str) -> Result<Query> {
        query(Level::Study, None, &pairs(text).unwrap(), 100)
    }

    #[test]
    fn parameters_become_a_query() {
        let query = read(
            "PatientName=Doe*&00080060=CT&includefield=StudyDescription,00081030&limit=500&offset=3&fuzzymatching=true",
        )
        .unwrap();
        let keys: Vec<_> = query.matches.iter().map(|key| (key.path.clone(), key.value.as_str())).collect();
        assert_eq!(keys, [(vec![tags::PATIENT_NAME], "Doe*"), (vec![tags::MODALITY], "CT")]);
        assert_eq!(query.include, Include::Attributes(vec![tags::STUDY_DESCRIPTION; 2]));
        assert_eq!((query.limit, query.offset, query.fuzzy), (100, 3, true));
        let query = read("orderby=-StudyDate,%2BStudyTime&charset=utf-8&includefield=00091001").unwrap();
        let order = [(tags::STUDY_DATE, true), (tags::STUDY_TIME, false)];
        let order = order.map(|(attribute, descending)| OrderKey { attribute, descending });
        assert_eq!(query.order, order);
        let private = vec![Tag(0x0009, 0x1001), Tag(0x0009, 0x0010)];
        assert_eq!(query.include, Include::Attributes(private));
        assert_eq!(read("includefield=all&includefield=PatientID").unwrap().include, Include::All);
    }

    #[test]
    fn what_is_no_parameter_is_refused() {
        for text in [
            "NotAnAttribute=1",
            "charset=iso-8859-1",
            "orderby=-Rows",
            "orderby=Nope",
            "limit=-1",
            "limit=x",
            "offset=1.5",
            "fuzzymatching=maybe",
            "includefield=Nope",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
