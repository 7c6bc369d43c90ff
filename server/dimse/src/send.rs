//! C-STORE of stored instances, to whoever is at the other end of an association.

use std::fs::File;
use std::io::{Cursor, Seek, SeekFrom};

use dicom_ul::pdu::{PresentationContextNegotiated, PresentationContextResultReason};
use engram_archive::InstanceEntry;
use engram_imaging::{TargetSyntax, TranscodeLimits, data_set_offset, is_decodable, transcode};
use snafu::ResultExt;

use crate::command::{MoveOriginator, store_request};
use crate::link::Link;
use crate::message::send_command;
use crate::{Error, ReadFileSnafu, TooLargeSnafu, TranscodeSnafu};

/// How an instance can go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The stored bytes, on this presentation context.
    AsStored(u8),
    /// Transcoded, on this presentation context.
    Transcoded(u8, TargetSyntax),
}

/// How an instance can go out on what was agreed: as it is stored, else in the first transfer syntax that it can be
/// transcoded to; `None` where there is none.
pub fn way<'a>(
    contexts: impl IntoIterator<Item = &'a PresentationContextNegotiated>,
    entry: &InstanceEntry,
) -> Option<Way> {
    let accepted: Vec<_> = contexts
        .into_iter()
        .filter(|context| context.reason == PresentationContextResultReason::Acceptance)
        .filter(|context| context.abstract_syntax == entry.sop_class_uid)
        .collect();
    if let Some(context) =
        accepted.iter().find(|context| context.transfer_syntax == entry.transfer_syntax_uid)
    {
        return Some(Way::AsStored(context.id));
    }
    if !is_decodable(&entry.transfer_syntax_uid) {
        return None;
    }
    let transcoded = |context: &&PresentationContextNegotiated| {
        let target = TargetSyntax::of_uid(&context.transfer_syntax)?;
        TargetSyntax::OF_OBJECTS.contains(&target).then_some(Way::Transcoded(context.id, target))
    };
    accepted.iter().find_map(transcoded)
}

/// Sends a C-STORE request with the instance. The response is the caller's to receive.
///
/// # Errors
/// [`Error::is_of_the_instance`] tells whether the association is as it was, so that others can be sent.
pub fn send_instance(
    link: &mut dyn Link,
    way: Way,
    entry: &InstanceEntry,
    message_id: u16,
    originator: Option<&MoveOriginator>,
    limits: TranscodeLimits,
) -> Result<(), Error> {
    let sop_instance = entry.uids.sop_instance_uid.as_str();
    let request = store_request(message_id, &entry.sop_class_uid, sop_instance, originator)?;
    match way {
        Way::AsStored(context) => {
            let path = entry.path.as_path();
            let mut file = File::open(path).context(ReadFileSnafu { path })?;
            file.seek(SeekFrom::Start(entry.data_set_offset)).context(ReadFileSnafu { path })?;
            send_command(link, context, &request)?;
            link.send_data(context, &mut file)
        }
        Way::Transcoded(context, target) => {
            let (bytes, start) = transcoded(entry, target, limits)?;
            send_command(link, context, &request)?;
            let mut data_set = Cursor::new(bytes);
            data_set.set_position(start as u64);
            link.send_data(context, &mut data_set)
        }
    }
}

/// The object in another transfer syntax, and where its data set begins.
fn transcoded(
    entry: &InstanceEntry,
    target: TargetSyntax,
    limits: TranscodeLimits,
) -> Result<(Vec<u8>, usize), Error> {
    let (size, limit) = (entry.size, limits.max_object_bytes);
    if size > limit {
        return TooLargeSnafu { size, limit }.fail();
    }
    let path = entry.path.as_path();
    let file = std::fs::read(path).context(ReadFileSnafu { path })?;
    let transcoded = transcode(&file, target, limits).context(TranscodeSnafu)?;
    if transcoded.transfer_syntax != target {
        // It has no pixels to compress, and only a compressed transfer syntax was agreed on.
        return Err(engram_imaging::Error::NoPixelData).context(TranscodeSnafu);
    }
    let start = data_set_offset(&transcoded.bytes).unwrap_or_default();
    Ok((transcoded.bytes, start))
}
