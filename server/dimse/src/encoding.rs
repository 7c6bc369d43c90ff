//! Data sets in the transfer syntax that was agreed on.

use dicom_encoding::TransferSyntaxIndex;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use snafu::{OptionExt, ResultExt};

use crate::{Error, ReadDataSetSnafu, UnexpectedSnafu, WriteCommandSnafu};

/// Writes a data set.
pub fn encode(object: &InMemDicomObject, transfer_syntax: &str) -> Result<Vec<u8>, Error> {
    let syntax = TransferSyntaxRegistry.get(transfer_syntax).context(unknown(transfer_syntax))?;
    let mut bytes = Vec::new();
    object.write_dataset_with_ts(&mut bytes, syntax).context(WriteCommandSnafu)?;
    Ok(bytes)
}

/// Reads a data set.
pub fn decode(bytes: &[u8], transfer_syntax: &str) -> Result<InMemDicomObject, Error> {
    let syntax = TransferSyntaxRegistry.get(transfer_syntax).context(unknown(transfer_syntax))?;
    InMemDicomObject::read_dataset_with_ts(bytes, syntax).context(ReadDataSetSnafu)
}

fn unknown(transfer_syntax: &str) -> UnexpectedSnafu<String> {
    UnexpectedSnafu { what: format!("transfer syntax {transfer_syntax}") }
}
