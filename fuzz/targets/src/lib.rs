//! What the fuzz targets do with an input, and what must hold whatever the input is.
//!
//! `fuzz/fuzz_targets` runs these functions under libFuzzer; `tests/corpus.rs` runs the same ones over every input that
//! is kept, so that a crash of the past stays one. A target fails by panicking: it asserts what its page promises, and
//! [`Target::run`] that memory stays within bounds.
//!
//! The targets start where the bytes of a stranger enter: a multipart body, DICOM JSON and XML, a Part 10 object, a
//! request's line and headers. They take what the rooms make public, and of `engram-archive` and `engram-dicomweb`
//! what their feature `fuzzing` adds.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a target fails by panicking")]

mod fixture;
mod metadata;
mod multipart;
pub mod objects;
mod part10;
mod query;

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// One fuzz target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// As its folder of inputs is called.
    pub name: &'static str,
    check: fn(&[u8]),
    /// The most memory it may take, in bytes, for an input of no length: what it works with is made by its first input.
    base_bytes: usize,
    /// The most memory that a byte of input may take, in bytes.
    bytes_per_byte: usize,
}

impl Target {
    /// Runs the target on an input.
    ///
    /// # Panics
    /// Where a property does not hold, or more memory is taken than the input and the limits explain.
    pub fn run(&self, input: &[u8]) {
        ALLOCATOR.reset_peak_usage();
        let before = ALLOCATOR.current_usage();
        (self.check)(input);
        let taken = ALLOCATOR.peak_usage().saturating_sub(before);
        let allowed = self.base_bytes + self.bytes_per_byte * input.len();
        assert!(taken <= allowed, "{taken} bytes of memory for {} bytes of input", input.len());
    }
}

/// All targets.
pub const TARGETS: [Target; 5] = [DICOM_JSON, DICOM_XML, MULTIPART, PART10, QUERY];

/// Metadata in DICOM JSON, as STOW-RS takes it. What it makes is a whole object, and its metadata, sent back with its
/// bulk data, makes the same metadata again.
pub const DICOM_JSON: Target =
    Target { name: "dicom_json", check: metadata::dicom_json, base_bytes: 64 << 20, bytes_per_byte: 512 };

/// The same in the Native DICOM Model. Besides, JSON written as XML reads as the same JSON.
pub const DICOM_XML: Target =
    Target { name: "dicom_xml", check: metadata::dicom_xml, base_bytes: 64 << 20, bytes_per_byte: 512 };

/// A multipart body. How it is cut into chunks does not matter, limits hold, and what the writer writes is read back.
pub const MULTIPART: Target =
    Target { name: "multipart", check: multipart::check, base_bytes: 64 << 10, bytes_per_byte: 256 };

/// A Part 10 object. Its metadata is JSON and XML, bulk data is found where the metadata says; what decodes can be shown
/// and transcoded, and says the same afterwards.
pub const PART10: Target =
    Target { name: "part10", check: part10::check, base_bytes: 64 << 20, bytes_per_byte: 1024 };

/// A request's target and header fields. The server is never at fault, errors are in the one JSON shape, and an
/// answer is of the type that it says it is.
pub const QUERY: Target =
    Target { name: "query", check: query::check, base_bytes: 64 << 20, bytes_per_byte: 1024 };
