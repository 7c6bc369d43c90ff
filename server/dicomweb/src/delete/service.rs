//! Deletes, durably, and tells the observer.

use engram_archive::Deleted;
use snafu::ResultExt;

use crate::error::{ArchiveSnafu, DeleteForbiddenSnafu, NotFoundSnafu, Result};
use crate::place::Place;
use crate::state::DicomWeb;

/// Deletes a study, series or instance. Blocks until that is durable.
pub fn delete(state: &DicomWeb, place: &Place) -> Result<()> {
    if !state.options.allow_delete {
        return DeleteForbiddenSnafu.fail();
    }
    let Place { study, series, instance } = place;
    let Deleted { instances, .. } = match (series, instance) {
        (Some(series), Some(instance)) => state.archive.delete_instance(study, series, instance),
        (Some(series), None) => state.archive.delete_series(study, series),
        (None, _) => state.archive.delete_study(study),
    }
    .context(ArchiveSnafu)?;
    if instances.is_empty() {
        return NotFoundSnafu { what: place.to_string() }.fail();
    }
    state.observer.deleted(&instances);
    Ok(())
}
