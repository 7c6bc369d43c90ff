//! What a request has brought until now, and what becomes of it in the end.

use engram_archive::Archive;

use super::assemble::{Assembled, Attributes, Instance, instances};
use super::bulk_data::BulkData;
use super::{AssembleError, Encoding};
use crate::media::MediaType;
use engram_archive::Incoming;

/// Metadata and bulk data of one request.
pub struct Gathering {
    archive: Archive,
    /// What the request is made of, where a part does not say.
    pub encoding: Encoding,
    /// How many bytes of metadata may yet come.
    room: usize,
    attributes: Vec<Attributes>,
    /// The bulk data.
    pub bulk_data: BulkData,
}

/// An instance that was put together, or why it was not.
pub struct Outcome {
    /// SOPClassUID, where it could be read.
    pub sop_class_uid: Option<String>,
    /// SOPInstanceUID, where it could be read.
    pub sop_instance_uid: Option<String>,
    /// The object, ready to be stored.
    pub object: Result<(Incoming, Assembled), AssembleError>,
}

impl Gathering {
    /// Nothing yet. `room`: most bytes of metadata.
    pub fn new(archive: Archive, encoding: Encoding, room: usize, bulk_data: BulkData) -> Self {
        Self { archive, encoding, room, attributes: Vec::new(), bulk_data }
    }

    /// An empty metadata part.
    pub fn begin(encoding: Encoding, media_type: &MediaType) -> Attributes {
        let transfer_syntax = media_type.parameter("transfer-syntax").map(str::to_owned);
        Attributes { encoding, transfer_syntax, bytes: Vec::new() }
    }

    /// Whether a part that is `length` bytes long until now may grow by `more`.
    pub fn has_room(&self, length: usize, more: usize) -> bool {
        length.saturating_add(more) <= self.room
    }

    /// Keeps a complete metadata part.
    pub fn keep(&mut self, part: Attributes) {
        self.room = self.room.saturating_sub(part.bytes.len());
        self.attributes.push(part);
    }

    /// Puts the instances together, one after the other, and hands each over. Returns the locations of bulk data that
    /// no instance refers to; none where metadata did not read, since then that is not known.
    pub fn assemble(mut self, mut take: impl FnMut(Outcome)) -> Vec<String> {
        let mut all_read = true;
        for part in std::mem::take(&mut self.attributes) {
            let instances = match instances(&part) {
                Ok(instances) => instances,
                Err(error) => Box::new(std::iter::once(Err(error))),
            };
            for instance in instances {
                all_read &= instance.is_ok();
                take(match instance {
                    Ok(instance) => self.one(instance),
                    Err(error) => Outcome { sop_class_uid: None, sop_instance_uid: None, object: Err(error) },
                });
            }
        }
        if !all_read {
            return Vec::new();
        }
        self.bulk_data.unreferenced().map(str::to_owned).collect()
    }

    fn one(&mut self, instance: Instance) -> Outcome {
        instance.bulk_data_uris().into_iter().for_each(|uri| self.bulk_data.refer(uri));
        let (sop_class_uid, sop_instance_uid) = (instance.sop_class_uid(), instance.sop_instance_uid());
        let object = self.archive.incoming().map_err(AssembleError::from).and_then(|mut incoming| {
            let assembled = instance.assemble(&mut incoming, &self.bulk_data)?;
            Ok((incoming, assembled))
        });
        Outcome { sop_class_uid, sop_instance_uid, object }
    }
}
