//! Video: pixel data whose frames are coded as one stream (PS3.5 sections 8.2.5 to 8.2.8). It is sent as it is stored.

use std::ops::Range;

use engram_archive::{BulkValue, InstanceEntry};
use snafu::ResultExt;

use super::PIXEL_DATA;
use super::answer::{Answer, Part, Wishes};
use super::body::Segment;
use super::entity::EntityTag;
use crate::error::{ArchiveSnafu, NotFoundSnafu, Result};
use crate::media::Offer;
use crate::state::DicomWeb;

/// What videos can be, the transfer syntaxes of PS3.18 Table 8.7.3-5 by themselves.
pub const MEDIA_TYPES: [&str; 3] = ["video/mp4", "video/mpeg", "video/H265"];

/// The media type of pixel data in a transfer syntax; `None` where that codes each frame by itself.
pub fn media_type(transfer_syntax: &str) -> Option<&'static str> {
    let [mp4, mpeg, hevc] = MEDIA_TYPES;
    match transfer_syntax.strip_prefix("1.2.840.10008.1.2.4.10")?.chars().next()? {
        '0' | '1' => Some(mpeg),
        '2'..='6' => Some(mp4),
        '7' | '8' => Some(hevc),
        _ => None,
    }
}

/// Where the stream of a video lies in its file: in all fragments but the offset table.
pub fn segments(entry: &InstanceEntry, value: &BulkValue) -> Vec<Segment> {
    let BulkValue::Encapsulated { fragments, .. } = value else { return Vec::new() };
    let segment = |range: &Range<u64>| Segment::File { path: entry.path.clone(), range: range.clone() };
    fragments.iter().map(segment).collect()
}

/// The video of an instance as a rendered resource has it, without the transfer syntax (PS3.18 8.7.4). Plain blocking
/// calls.
pub fn rendered(
    state: &DicomWeb,
    entry: &InstanceEntry,
    media_type: &'static str,
    wishes: &Wishes,
) -> Result<Answer> {
    let offer = wishes.choose(&[Offer::single(media_type), Offer::multipart(media_type)])?;
    let found = state.archive.bulk_data(entry, PIXEL_DATA).context(ArchiveSnafu)?;
    let segments = found.map(|found| segments(entry, &found.value)).unwrap_or_default();
    if segments.is_empty() {
        return NotFoundSnafu { what: format!("pixel data of instance {}", entry.uids.sop_instance_uid) }
            .fail();
    }
    let part = Part { content_type: media_type.to_owned(), location: None, content: segments };
    let tag = EntityTag::of([entry], &offer, "rendered");
    Answer::new(state, wishes, &offer, vec![part], Some(tag))?.begun()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn videos_are_told_by_their_transfer_syntax() {
        for (rest, expected) in [
            ("100", Some("video/mpeg")),
            ("101", Some("video/mpeg")),
            ("100.1", Some("video/mpeg")),
            ("102", Some("video/mp4")),
            ("106", Some("video/mp4")),
            ("103.1", Some("video/mp4")),
            ("107", Some("video/H265")),
            ("108", Some("video/H265")),
            ("10", None),
            ("110", None),
            ("90", None),
            ("50", None),
        ] {
            assert_eq!(media_type(&format!("1.2.840.10008.1.2.4.{rest}")), expected, "{rest}");
        }
    }
}
