//! What can be sent of instances, and the answer made of it.

use engram_archive::InstanceEntry;

use crate::media::Offer;
use crate::multipart::MultipartWriter;
use crate::wado::body::Segment;

/// An answer: its `Content-Type`, and where its bytes are.
pub struct Answer {
    pub content_type: String,
    pub segments: Vec<Segment>,
}

/// What these instances can be sent as. Where they are stored in several transfer syntaxes, no single one can be
/// offered: only a client that names none, or accepts all, is served.
pub fn offers(entries: &[InstanceEntry]) -> Vec<Offer> {
    let mut forms = vec![Offer::multipart("application/dicom")];
    if entries.len() == 1 {
        forms.push(Offer::single("application/dicom"));
    }
    let syntax = common_syntax(entries).unwrap_or("various");
    forms.into_iter().map(|form| form.in_syntax(syntax)).collect()
}

fn common_syntax(entries: &[InstanceEntry]) -> Option<&str> {
    let first = entries.first()?.transfer_syntax_uid.as_str();
    entries.iter().all(|entry| entry.transfer_syntax_uid == first).then_some(first)
}

/// The answer in that form, the stored bytes untouched.
pub fn retrieve(entries: &[InstanceEntry], offer: &Offer) -> Answer {
    let file = |entry: &InstanceEntry| Segment::File { path: entry.path.clone(), range: 0..entry.size };
    let part_type =
        |entry: &InstanceEntry| format!("application/dicom; transfer-syntax={}", entry.transfer_syntax_uid);
    if let (false, [entry]) = (offer.multipart, entries) {
        return Answer { content_type: part_type(entry), segments: vec![file(entry)] };
    }
    let writer = MultipartWriter::new();
    let mut segments = Vec::with_capacity(2 * entries.len() + 1);
    for entry in entries {
        segments.push(Segment::Bytes(writer.part_start(&part_type(entry), None)));
        segments.push(file(entry));
    }
    segments.push(Segment::Bytes(writer.end()));
    Answer { content_type: writer.content_type("application/dicom"), segments }
}
