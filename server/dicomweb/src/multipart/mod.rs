//! `multipart/related` (RFC 2046 5.1, RFC 2387) as DICOMweb uses it, without I/O: [`parser`] reads a body that
//! arrives in arbitrary chunks, [`writer`] frames the parts of an answer.

pub mod parser;
pub mod writer;

pub use parser::{Event, MultipartError, MultipartLimits, MultipartParser, PartHeaders};
pub use writer::MultipartWriter;
