//! `engram openapi`.

use super::{Failure, print_json};
use crate::http::openapi::document;

/// Prints the document that a server serves.
pub fn run() -> Result<(), Failure> {
    print_json(&document())
}
