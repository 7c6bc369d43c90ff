//! What can be sent of instances, and the answer made of it.

use bytes::Bytes;
use engram_archive::InstanceEntry;
use engram_imaging::{Error as Imaging, TargetSyntax, is_decodable, transcode};
use snafu::ResultExt;

use crate::error::{Error, ReadFileSnafu, Result, TooLargeToDecodeSnafu, TranscodeSnafu};
use crate::media::Offer;
use crate::options::DicomWebOptions;
use crate::state::DicomWeb;
use crate::wado::EXPLICIT_VR_LITTLE_ENDIAN;
use crate::wado::answer::{self, Answer, Wishes};
use crate::wado::body::{Segment, read_range};
use crate::wado::entity::EntityTag;

/// The media type of an object.
pub const DICOM: &str = "application/dicom";
/// The media type of several objects in one file.
pub const ZIP: &str = "application/zip";

/// What these instances can be sent as: as they are stored; then in the transfer syntaxes that they can be transcoded to. Who names
/// none gets Explicit VR Little Endian (PS3.18 8.7.3.3), or where that cannot be made what is stored.
pub fn offers(entries: &[InstanceEntry], options: &DicomWebOptions) -> Vec<Offer> {
    let mut forms = vec![Offer::multipart(DICOM)];
    if entries.len() == 1 {
        forms.push(Offer::single(DICOM));
    }
    let stored = common_syntax(entries).unwrap_or("various");
    let mut offers: Vec<Offer> = forms.iter().map(|form| form.clone().in_syntax(stored)).collect();
    if entries.iter().any(|entry| is_decodable(&entry.transfer_syntax_uid)) {
        let targets = TargetSyntax::OF_OBJECTS.iter().map(|target| target.uid());
        for target in targets.filter(|target| *target != stored) {
            offers.extend(forms.iter().map(|form| form.clone().in_syntax(target).transcoded()));
        }
    }
    let default = match offers.iter().any(|offer| is_in(offer, EXPLICIT_VR_LITTLE_ENDIAN)) {
        true if check_sizes(entries, TargetSyntax::ExplicitVrLittleEndian, options).is_ok() => {
            EXPLICIT_VR_LITTLE_ENDIAN
        }
        _ => stored,
    };
    offers.into_iter().map(|offer| if is_in(&offer, default) { offer } else { offer.if_named() }).collect()
}

fn is_in(offer: &Offer, transfer_syntax: &str) -> bool {
    offer.transfer_syntax.as_deref() == Some(transfer_syntax)
}

/// The same in a zip, as they are stored. As little wanted as what must be transcoded: who accepts anything gets objects.
pub fn zipped(entries: &[InstanceEntry]) -> Offer {
    Offer::single(ZIP).in_syntax(common_syntax(entries).unwrap_or("various")).transcoded()
}

fn common_syntax(entries: &[InstanceEntry]) -> Option<&str> {
    let first = entries.first()?.transfer_syntax_uid.as_str();
    entries.iter().all(|entry| entry.transfer_syntax_uid == first).then_some(first)
}

/// The `Content-Type` of an object.
pub fn part_type(transfer_syntax: &str) -> String {
    format!("{DICOM}; transfer-syntax={transfer_syntax}")
}

/// All of an instance's file.
pub fn file(entry: &InstanceEntry) -> Segment {
    Segment::File { path: entry.path.clone(), range: 0..entry.size }
}

/// The stored bytes, untouched, in the form of `offer`.
pub fn stored(state: &DicomWeb, wishes: &Wishes, offer: &Offer, entries: &[InstanceEntry]) -> Result<Answer> {
    let part = |entry: &InstanceEntry| answer::Part {
        content_type: part_type(&entry.transfer_syntax_uid),
        location: Some(wishes.urls.retrieve_instance(&entry.uids)),
        content: vec![file(entry)],
    };
    let tag = EntityTag::of(entries, offer, "");
    Answer::new(state, wishes, offer, entries.iter().map(part).collect(), Some(tag))
}

/// What instances must be transcoded to for an offer; `None` where it is for what is stored.
pub fn target(offer: &Offer) -> Option<TargetSyntax> {
    offer.transfer_syntax.as_deref().and_then(TargetSyntax::of_uid).filter(|_| offer.transcoded)
}

/// An instance as it goes out.
pub enum Part {
    /// The stored file.
    Stored(Box<InstanceEntry>),
    /// Written anew, in this transfer syntax.
    Transcoded(Bytes, &'static str),
}

impl Part {
    /// The UID of the transfer syntax it is in.
    pub fn transfer_syntax(&self) -> &str {
        match self {
            Self::Stored(entry) => &entry.transfer_syntax_uid,
            Self::Transcoded(_, transfer_syntax) => transfer_syntax,
        }
    }
}

/// Fails if one of the instances that must be transcoded is too large for that.
pub fn check_sizes(entries: &[InstanceEntry], target: TargetSyntax, options: &DicomWebOptions) -> Result<()> {
    let limit = options.max_decode_bytes;
    let must_be = |entry: &&InstanceEntry| {
        entry.transfer_syntax_uid != target.uid() && is_decodable(&entry.transfer_syntax_uid)
    };
    let stored_otherwise = entries.iter().filter(must_be);
    match stored_otherwise.map(|entry| entry.size).find(|size| *size > limit) {
        Some(size) => TooLargeToDecodeSnafu { size, limit }.fail(),
        None => Ok(()),
    }
}

/// One instance, whose size was checked, in a transfer syntax; in the stored bytes where those are in it. An object
/// without pixels comes in Explicit VR Little Endian where a compressed transfer syntax is asked for.
pub fn part(entry: InstanceEntry, target: TargetSyntax, options: &DicomWebOptions) -> Result<Part> {
    if entry.transfer_syntax_uid == target.uid() {
        return Ok(Part::Stored(Box::new(entry)));
    }
    let file = read_range(&entry.path, 0..entry.size).context(ReadFileSnafu)?;
    let transcoded = transcode(&file, target, options.transcoding())
        .context(TranscodeSnafu { instance: entry.uids.sop_instance_uid.as_str() })?;
    let transfer_syntax = transcoded.transfer_syntax.uid();
    if transfer_syntax == entry.transfer_syntax_uid {
        return Ok(Part::Stored(Box::new(entry)));
    }
    Ok(Part::Transcoded(transcoded.bytes.into(), transfer_syntax))
}

/// One of several instances in a transfer syntax; in Explicit VR Little Endian where its pixels do not fit into that, and as it is stored
/// where it cannot be decoded: a study with a segmentation of single bits or a video in it is worth more than none.
pub fn part_of_several(
    entry: InstanceEntry,
    target: TargetSyntax,
    options: &DicomWebOptions,
) -> Result<Part> {
    if !is_decodable(&entry.transfer_syntax_uid) {
        return Ok(Part::Stored(Box::new(entry)));
    }
    match part(entry.clone(), target, options) {
        Err(Error::Transcode { source: Imaging::CannotHold { .. }, .. }) => {
            part(entry, TargetSyntax::ExplicitVrLittleEndian, options)
        }
        part => part,
    }
}
