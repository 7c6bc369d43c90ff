//! Bundles as the API shows them.

use std::path::PathBuf;

use engram_inference::Bundle;
use engram_jobs::JobId;
use serde::Serialize;
use utoipa::ToSchema;

use super::served::ServedBundle;
use crate::{Result, Workflow};

/// What a bundle does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub enum BundleState {
    /// Computes where a request names no bundle.
    #[serde(rename = "in use")]
    InUse,
    /// Computes where a request or a rule names it.
    #[serde(rename = "ready")]
    Ready,
    /// Its exemplars are being made.
    #[serde(rename = "encoding")]
    Encoding,
    /// Was asked for; its job waits or loads it.
    #[serde(rename = "asked for")]
    AskedFor,
    /// Is not served; it may be chosen.
    #[serde(rename = "available")]
    Available,
}

/// A bundle as the API shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[allow(missing_docs)] // the names say it; docs/api.md explains them
pub struct BundleView {
    pub id: String,
    pub name: String,
    pub version: String,
    pub state: BundleState,
    /// Where it computes, if it is served.
    pub device: Option<String>,
    /// Annotated slices encoded by it.
    pub exemplars: usize,
    /// Annotated series that it has exemplars of and those there are, while it is being taught.
    pub series_done: Option<usize>,
    pub series_total: Option<usize>,
    /// The job that brings it into use.
    #[schema(value_type = Option<String>)]
    pub job: Option<JobId>,
    pub licence: String,
    pub source: String,
    #[schema(value_type = String)]
    pub folder: PathBuf,
}

impl BundleView {
    fn of(bundle: &Bundle) -> Self {
        let spec = bundle.spec();
        Self {
            id: bundle.id().to_owned(),
            name: spec.name.clone(),
            version: spec.version.clone(),
            state: BundleState::Available,
            device: None,
            exemplars: 0,
            series_done: None,
            series_total: None,
            job: None,
            licence: spec.licence.clone(),
            source: spec.source.clone(),
            folder: bundle.folder().to_path_buf(),
        }
    }

    fn served(bundle: &ServedBundle, in_use: bool) -> Self {
        let lessons = bundle.lessons();
        let state = match lessons {
            _ if in_use => BundleState::InUse,
            Some(_) => BundleState::Encoding,
            None => BundleState::Ready,
        };
        Self {
            state,
            device: Some(bundle.engine().device().to_string()),
            exemplars: bundle.exemplar_slices(),
            series_done: lessons.map(|(done, _)| done),
            series_total: lessons.map(|(_, total)| total),
            ..Self::of(bundle.engine().bundle())
        }
    }
}

impl Workflow {
    /// Every bundle that is served or may be chosen, the one in use first.
    ///
    /// # Errors
    /// The queue cannot be read.
    pub fn bundles(&self) -> Result<Vec<BundleView>> {
        let served = self.bundles.all();
        let asked = self.switch_under_way()?;
        let mut views: Vec<BundleView> =
            served.iter().enumerate().map(|(place, bundle)| BundleView::served(bundle, place == 0)).collect();
        let others =
            self.bundles.known().into_iter().filter(|known| served.iter().all(|s| s.id() != known.id()));
        views.extend(others.map(|known| BundleView::of(&known)));
        if let Some(asked) = asked
            && let Some(view) = views.iter_mut().find(|view| view.id == asked.bundle.id)
        {
            view.job = Some(asked.job);
            if view.state == BundleState::Available {
                view.state = BundleState::AskedFor;
            }
        }
        Ok(views)
    }
}
