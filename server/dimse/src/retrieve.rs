//! What C-MOVE and C-GET have in common (PS3.4 C.4.2 and C.4.3): which instances, and how sending them went.

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use engram_archive::{Archive, InstanceEntry};
use snafu::ResultExt;

use crate::command::{Response, SubOperations};
use crate::encoding::encode;
use crate::find::find;
use crate::identifier::{Identifier, Level};
use crate::{ArchiveSnafu, Error};

/// Status: sub-operations go on.
pub const PENDING: u16 = 0xFF00;
/// Status: ended because the peer asked for it.
pub const CANCELLED: u16 = 0xFE00;
/// Status: at least one sub-operation failed.
pub const SOME_FAILED: u16 = 0xB000;
/// Status: none of the sub-operations could be performed.
pub const ALL_FAILED: u16 = 0xA702;

/// The instances that an identifier names, in the archive's order. What is deleted meanwhile is left out.
pub fn instances(archive: &Archive, identifier: &Identifier) -> Result<Vec<InstanceEntry>, Error> {
    let named = Identifier { level: Level::Image, asked: Vec::new(), keys: identifier.keys.clone() };
    let mut entries = Vec::new();
    find(archive, &named, |found| {
        let uid = |tag| found.text(tag).unwrap_or_default();
        let (study, series) = (uid(tags::STUDY_INSTANCE_UID), uid(tags::SERIES_INSTANCE_UID));
        entries
            .extend(archive.instance(&study, &series, &uid(tags::SOP_INSTANCE_UID)).context(ArchiveSnafu)?);
        Ok(true)
    })?;
    Ok(entries)
}

/// How sending goes.
#[derive(Debug)]
pub struct Tally {
    counts: SubOperations,
    failed: Vec<String>,
}

impl Tally {
    /// Of so many instances to send.
    pub fn of(instances: usize) -> Self {
        let remaining = u16::try_from(instances).unwrap_or(u16::MAX);
        Self { counts: SubOperations { remaining, ..SubOperations::default() }, failed: Vec::new() }
    }

    /// One more was sent and got this status; `None`: it could not be sent.
    pub fn count(&mut self, entry: &InstanceEntry, status: Option<u16>) {
        self.counts.remaining = self.counts.remaining.saturating_sub(1);
        let counter = match status {
            Some(0) => &mut self.counts.completed,
            // Warnings of C-STORE (PS3.4 B.2.3): stored, coerced or not quite as it should be.
            Some(0xB000 | 0xB006 | 0xB007) => &mut self.counts.warning,
            _ => {
                self.failed.push(entry.uids.sop_instance_uid.clone());
                &mut self.counts.failed
            }
        };
        *counter = counter.saturating_add(1);
    }

    /// How many were stored.
    pub fn sent(&self) -> u64 {
        u64::from(self.counts.completed) + u64::from(self.counts.warning)
    }

    /// What to tell while it goes on.
    pub fn pending(&self) -> Response {
        Response { sub_operations: Some(self.counts), ..Response::of(PENDING) }
    }

    /// What to tell at the end, and the data set with what failed (Failed SOP Instance UID List), if anything did.
    pub fn end(
        &self,
        is_cancelled: bool,
        transfer_syntax: &str,
    ) -> Result<(Response, Option<Vec<u8>>), Error> {
        let stored = self.counts.completed > 0 || self.counts.warning > 0;
        let status = match (is_cancelled, self.failed.is_empty()) {
            (true, _) => CANCELLED,
            (false, true) => 0,
            (false, false) if stored => SOME_FAILED,
            (false, false) => ALL_FAILED,
        };
        let data_set = match self.failed.is_empty() {
            true => None,
            false => Some(encode(&failed_list(&self.failed), transfer_syntax)?),
        };
        // Only a pending or cancelled response tells what remains (PS3.7 9.1.3.1.6).
        let counts =
            SubOperations { remaining: if is_cancelled { self.counts.remaining } else { 0 }, ..self.counts };
        let response = Response {
            sub_operations: Some(counts),
            has_data_set: data_set.is_some(),
            ..Response::of(status)
        };
        Ok((response, data_set))
    }
}

fn failed_list(failed: &[String]) -> InMemDicomObject {
    let uids = PrimitiveValue::Strs(failed.iter().cloned().collect());
    InMemDicomObject::from_element_iter([DataElement::new(tags::FAILED_SOP_INSTANCE_UID_LIST, VR::UI, uids)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use engram_archive::InstanceUids;

    fn entry(sop: &str) -> InstanceEntry {
        InstanceEntry {
            uids: InstanceUids::new("1", "1.1", sop),
            sop_class_uid: String::new(),
            transfer_syntax_uid: String::new(),
            path: "object".into(),
            size: 0,
            data_set_offset: 0,
            data_set_digest: String::new(),
            instance_number: None,
            frames: 1,
            native_pixels: None,
        }
    }

    #[test]
    fn the_end_tells_how_it_went() {
        let ended = |statuses: &[Option<u16>], is_cancelled| {
            let mut tally = Tally::of(3);
            for status in statuses {
                tally.count(&entry("1.2"), *status);
            }
            let (response, data_set) = tally.end(is_cancelled, "1.2.840.10008.1.2").unwrap();
            assert_eq!(response.has_data_set, data_set.is_some());
            (response.status, response.sub_operations.unwrap())
        };
        let counts =
            |remaining, completed, failed, warning| SubOperations { remaining, completed, failed, warning };
        assert_eq!(ended(&[Some(0), Some(0), Some(0xB000)], false), (0, counts(0, 2, 0, 1)));
        assert_eq!(ended(&[Some(0), None, Some(0xA700)], false), (SOME_FAILED, counts(0, 1, 2, 0)));
        assert_eq!(ended(&[None, None, None], false), (ALL_FAILED, counts(0, 0, 3, 0)));
        assert_eq!(ended(&[Some(0)], true), (CANCELLED, counts(2, 1, 0, 0)));
        assert_eq!(ended(&[], false), (0, counts(0, 0, 0, 0)));
    }
}
