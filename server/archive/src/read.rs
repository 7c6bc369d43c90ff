//! Reading instances' kept JSON.

use crate::{
    BulkDataUri, Error, InstanceUids, MetadataChunks, MetadataObjects, Result,
    catalogue::InstanceRecord,
    metadata::{SeriesMetadata, resolve},
    shared::Shared,
    writer::{Command, inspect_object},
};
use crossbeam_channel::Sender;
use serde_json::{Map, Value};
use std::{collections::VecDeque, io, sync::Arc};

/// About how large a piece of metadata gets, in bytes.
const PIECE: usize = 1 << 20;

/// Reads the catalogue and what it points to; asks the writer to mend what it finds damaged.
pub(crate) struct Reader {
    pub shared: Arc<Shared>,
    pub commands: Option<Sender<Command>>,
}

impl Reader {
    /// A series' instances, by InstanceNumber, then SOPInstanceUID.
    pub(crate) fn instances(&self, study: &str, series: &str) -> Result<Vec<(InstanceUids, InstanceRecord)>> {
        by_number(self.entries(study, series))
    }

    /// The same as the catalogue has them: by SOPInstanceUID.
    pub(crate) fn entries<'s>(
        &self,
        study: &'s str,
        series: &'s str,
    ) -> impl Iterator<Item = Result<(InstanceUids, InstanceRecord)>> + use<'s> {
        let entries = self.shared.catalogue.instances_of(study, series);
        entries.map(move |entry| entry.map(|(sop, record)| (InstanceUids::new(study, series, &sop), record)))
    }

    /// An instance's kept JSON; made from the object file where it does not read. `None` where the instance
    /// was deleted meanwhile.
    pub(crate) fn json(
        &self,
        kept: &mut SeriesMetadata,
        uids: &InstanceUids,
        record: &InstanceRecord,
    ) -> Result<Option<Vec<u8>>> {
        if let Some(line) = kept.line(record.metadata) {
            return Ok(Some(line));
        }
        match inspect_object(&self.shared, uids) {
            Ok(inspected) => {
                tracing::warn!(
                    sop_instance_uid = uids.sop_instance_uid,
                    "kept metadata did not read; making it anew"
                );
                // Full or closed: the next reader will ask again.
                let _ = self.commands.as_ref().map(|commands| commands.try_send(Command::Mend(uids.clone())));
                Ok(Some(inspected.json.text))
            }
            Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An instance's JSON with BulkDataURIs of the form `bulkdata/...`.
    pub(crate) fn instance_json(&self, uids: &InstanceUids) -> Result<Option<Map<String, Value>>> {
        let Some(record) = self.shared.catalogue.instance(uids)? else { return Ok(None) };
        let mut kept =
            SeriesMetadata::open(&self.shared.layout, &uids.study_instance_uid, &uids.series_instance_uid);
        let Some(json) = self.json(&mut kept, uids, &record)? else { return Ok(None) };
        let mut text = Vec::with_capacity(json.len());
        resolve(&json, "", &mut text);
        Ok(Some(parse(uids, &text)?))
    }
}

/// Instances of one series by InstanceNumber, then SOPInstanceUID; those without a number come last.
pub(crate) fn by_number(
    instances: impl Iterator<Item = Result<(InstanceUids, InstanceRecord)>>,
) -> Result<Vec<(InstanceUids, InstanceRecord)>> {
    let mut instances = instances.collect::<Result<Vec<_>>>()?;
    instances.sort_by(|(uids, record), (other_uids, other)| {
        let number = |record: &InstanceRecord| record.instance_number.unwrap_or(i64::MAX);
        (number(record), uids).cmp(&(number(other), other_uids))
    });
    // A search may name one twice.
    instances.dedup_by(|(uids, _), (other, _)| uids == other);
    Ok(instances)
}

/// Reads JSON that the archive wrote itself.
pub(crate) fn parse<'a, T: serde::Deserialize<'a>>(uids: &InstanceUids, json: &'a [u8]) -> Result<T> {
    serde_json::from_slice(json)
        .map_err(|source| Error::Record { key: format!("metadata of {}", uids.sop_instance_uid), source })
}

/// A study's, a series' or an instance's metadata as a JSON array in pieces.
pub(crate) fn metadata<'a>(
    reader: Reader,
    study: &str,
    series: Option<&str>,
    sop: Option<&str>,
    bulk: BulkDataUri<'a>,
) -> Result<Option<MetadataChunks<'a>>> {
    let objects = objects(reader, study, series, sop, bulk)?;
    Ok(objects.map(|objects| MetadataChunks {
        pieces: Box::new(Pieces { objects, is_first: true, state: State::Start }),
    }))
}

/// The same as an object an instance.
pub(crate) fn metadata_objects<'a>(
    reader: Reader,
    study: &str,
    series: Option<&str>,
    sop: Option<&str>,
    bulk: BulkDataUri<'a>,
) -> Result<Option<MetadataObjects<'a>>> {
    let objects = objects(reader, study, series, sop, bulk)?;
    Ok(objects.map(|objects| MetadataObjects { objects: Box::new(objects) }))
}

fn objects<'a>(
    reader: Reader,
    study: &str,
    series: Option<&str>,
    sop: Option<&str>,
    bulk: BulkDataUri<'a>,
) -> Result<Option<Objects<'a>>> {
    let catalogue = &reader.shared.catalogue;
    let mut current = None;
    let series: VecDeque<String> = match (series, sop) {
        (Some(series), Some(sop)) => {
            let uids = InstanceUids::new(study, series, sop);
            let Some(record) = catalogue.instance(&uids)? else { return Ok(None) };
            let kept = SeriesMetadata::open(&reader.shared.layout, study, series);
            current = Some((kept, vec![(uids, record)].into_iter()));
            VecDeque::new()
        }
        (Some(series), None) => {
            catalogue.has_series(study, series)?.then(|| series.to_owned()).into_iter().collect()
        }
        (None, _) => {
            catalogue.series_of(study).map(|entry| entry.map(|(series, _)| series)).collect::<Result<_>>()?
        }
    };
    if series.is_empty() && current.is_none() {
        return Ok(None);
    }
    Ok(Some(Objects { reader, study: study.to_owned(), series, bulk, current }))
}

/// A series being read: its kept JSON and the instances that are left.
type Current = (SeriesMetadata, std::vec::IntoIter<(InstanceUids, InstanceRecord)>);

/// The JSON of one instance after the other.
struct Objects<'a> {
    reader: Reader,
    study: String,
    series: VecDeque<String>,
    bulk: BulkDataUri<'a>,
    current: Option<Current>,
}

impl Objects<'_> {
    /// Appends the next instance's JSON, with `between` before it; tells whether there was one.
    fn append(&mut self, between: &[u8], out: &mut Vec<u8>) -> Result<bool> {
        let Some((json, uids)) = self.next_instance()? else { return Ok(false) };
        out.extend_from_slice(between);
        resolve(&json, &(self.bulk)(&uids), out);
        Ok(true)
    }

    fn next_instance(&mut self) -> Result<Option<(Vec<u8>, InstanceUids)>> {
        loop {
            if let Some((kept, instances)) = &mut self.current {
                for (uids, record) in instances {
                    if let Some(json) = self.reader.json(kept, &uids, &record)? {
                        return Ok(Some((json, uids)));
                    }
                }
            }
            let Some(series) = self.series.pop_front() else { return Ok(None) };
            let instances = self.reader.instances(&self.study, &series)?;
            let kept = SeriesMetadata::open(&self.reader.shared.layout, &self.study, &series);
            self.current = Some((kept, instances.into_iter()));
        }
    }
}

impl Iterator for Objects<'_> {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut object = Vec::new();
        match self.append(b"", &mut object) {
            Ok(true) => Some(Ok(object)),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

#[derive(PartialEq)]
enum State {
    Start,
    Middle,
    End,
}

/// The JSON array of them.
struct Pieces<'a> {
    objects: Objects<'a>,
    is_first: bool,
    state: State,
}

impl Pieces<'_> {
    fn piece(&mut self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        if self.state == State::Start {
            out.push(b'[');
            self.state = State::Middle;
        }
        while out.len() < PIECE {
            let between: &[u8] = if self.is_first { b"" } else { b"," };
            if !self.objects.append(between, &mut out)? {
                out.push(b']');
                self.state = State::End;
                break;
            }
            self.is_first = false;
        }
        Ok(out)
    }
}

impl Iterator for Pieces<'_> {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::End {
            return None;
        }
        let piece = self.piece();
        if piece.is_err() {
            self.state = State::End;
        }
        Some(piece)
    }
}
