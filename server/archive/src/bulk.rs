//! Where the bytes of one element lie in an object file.

use dicom_core::VR;
use std::ops::Range;

/// One element's value, found in an object file.
#[derive(Clone, Debug, PartialEq)]
pub struct BulkData {
    /// The element's value representation.
    pub vr: VR,
    /// Whether multi-byte numbers are big endian (transfer syntax 1.2.840.10008.1.2.2).
    pub big_endian: bool,
    /// Its bytes.
    pub value: BulkValue,
}

/// How the value is held. Ranges are byte offsets in the object file.
#[derive(Clone, Debug, PartialEq)]
pub enum BulkValue {
    /// One stretch of the file: send it, or read a frame from within it.
    Native(Range<u64>),
    /// Encapsulated pixel data (PS3.5 section A.4).
    Encapsulated {
        /// The Basic Offset Table's entries, relative to the first fragment's item tag; empty where there is none.
        offset_table: Vec<u32>,
        /// Each fragment's bytes, without its item header.
        fragments: Vec<Range<u64>>,
    },
    /// The data set is deflated (1.2.840.10008.1.2.1.99): the value, inflated.
    Inflated(Vec<u8>),
}
