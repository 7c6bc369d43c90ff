//! Which bundles answer requests, and which of them where a request names none.
//!
//! Each served bundle has an engine and a bank of its own, since the memories of one mean nothing to another. No lock
//! is held while anything is computed: whoever computes has a handle of its bundle, which outlives a switch.

mod choices;
mod names;
mod served;
mod switch;
mod views;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use engram_inference::{Bundle, Engine};
use engram_memory::Bank;
use parking_lot::{Mutex, RwLock};
use snafu::{ResultExt, ensure};

use crate::error::{BundleNeededSnafu, BundlesSnafu, OpenBundleSnafu, Result, StartBundleSnafu};

pub(crate) use choices::Choices;
pub use choices::{Choice, Decided};
pub use names::choose;
pub use served::ServedBundle;
pub use switch::{Reencoded, ask_on_stopped_store};
pub use views::{BundleState, BundleView};

/// An error of whoever provides bundles.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Where bundles and their banks come from: folders, devices and the database are `app`'s.
pub trait BundleSource: Send + Sync {
    /// Every bundle that may be chosen by name, by its manifest alone.
    fn known(&self) -> Vec<Bundle>;

    /// Loads a verified bundle on its device and opens its bank, which is made where there is none. Called once for
    /// each bundle until all handles of what it answered are gone.
    ///
    /// # Errors
    /// The device or the store refuses.
    fn start(&self, bundle: Bundle) -> Result<(Engine, Bank), BoxError>;

    /// Ids of the bundles that have a bank in the store.
    ///
    /// # Errors
    /// The store cannot be read.
    fn banks(&self) -> Result<Vec<String>, BoxError>;

    /// Removes the bank of a bundle that is not started.
    ///
    /// # Errors
    /// The store cannot be written.
    fn remove_bank(&self, id: &str) -> Result<(), BoxError>;
}

/// The bundles that the configuration names.
#[derive(Debug, Clone)]
pub struct ConfiguredBundles {
    /// The one in use until a person chooses another.
    pub first: PathBuf,
    /// Served beside it, always.
    pub beside: Vec<PathBuf>,
}

/// The bundles that are served.
pub(crate) struct Bundles {
    pub(crate) source: Box<dyn BundleSource>,
    pub(crate) choices: Choices,
    /// Folders of the bundles that the configuration wants served always.
    beside: Vec<PathBuf>,
    served: RwLock<Served>,
    /// Held while it is decided what is served or asked for: never for long.
    pub(crate) changing: Mutex<()>,
    /// Held while a bundle is loaded or a bank removed, so that neither happens under the other.
    loading: Mutex<()>,
    /// Bundles that are no longer served and may still compute, each with what ends when it is closed.
    leaving: Mutex<Vec<(String, Weak<()>)>>,
}

struct Served {
    in_use: Arc<ServedBundle>,
    others: Vec<Arc<ServedBundle>>,
}

impl Bundles {
    /// Loads the bundle in use and those served beside it.
    pub(crate) fn open(
        data: &Path,
        source: Box<dyn BundleSource>,
        configured: ConfiguredBundles,
    ) -> Result<Self> {
        let choices = Choices::open(data).context(crate::error::JournalSnafu)?;
        let in_use = load_in_use(&*source, &choices, &configured.first)?;
        let decided = choices.decided();
        let bundles = Self {
            source,
            choices,
            beside: configured.beside,
            served: RwLock::new(Served { in_use, others: Vec::new() }),
            changing: Mutex::new(()),
            loading: Mutex::new(()),
            leaving: Mutex::new(Vec::new()),
        };
        for folder in &bundles.beside {
            bundles.serve(Bundle::open(folder).context(OpenBundleSnafu { folder })?, |_| ())?;
        }
        bundles.serve_kept(&configured.first, &decided);
        Ok(bundles)
    }

    /// Serves what was in use before and was not dropped. One that cannot be loaded keeps nobody from starting.
    fn serve_kept(&self, first: &Path, decided: &Decided) {
        let kept = decided.kept.iter().map(|kept| kept.folder.as_path());
        for folder in std::iter::once(first).chain(kept) {
            if self.all().iter().any(|served| served.engine().bundle().folder() == folder) {
                continue;
            }
            let served = Bundle::open(folder).context(OpenBundleSnafu { folder }).and_then(|bundle| {
                let is_dropped = decided.dropped.contains(bundle.id());
                if is_dropped { Ok(()) } else { self.serve(bundle, |_| ()).map(drop) }
            });
            if let Err(error) = served {
                tracing::warn!(folder = %folder.display(), error = %crate::report(&error), "a bundle is not served");
            }
        }
    }

    /// The bundle where a request names none.
    pub(crate) fn in_use(&self) -> Arc<ServedBundle> {
        Arc::clone(&self.served.read().in_use)
    }

    /// Every bundle served, the one in use first.
    pub(crate) fn all(&self) -> Vec<Arc<ServedBundle>> {
        let served = self.served.read();
        std::iter::once(&served.in_use).chain(&served.others).cloned().collect()
    }

    /// The served bundle of this id.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<ServedBundle>> {
        self.all().into_iter().find(|bundle| bundle.id() == id)
    }

    /// The served bundle that a person means.
    pub(crate) fn named(&self, asked: &str) -> Result<Arc<ServedBundle>> {
        choose(asked, self.all(), |bundle| bundle.engine().bundle())
    }

    /// The known bundle that a person means; those that are served are known.
    pub(crate) fn known_as(&self, asked: &str) -> Result<Bundle> {
        choose(asked, self.known(), |bundle| bundle)
    }

    /// Every bundle that is served or may be chosen.
    pub(crate) fn known(&self) -> Vec<Bundle> {
        let served = self.all().into_iter().map(|bundle| bundle.engine().bundle().clone());
        let mut known: Vec<Bundle> = served.collect();
        known.extend(self.source.known());
        let mut seen = BTreeSet::new();
        known.retain(|bundle| seen.insert(bundle.id().to_owned()));
        known
    }

    /// Whether the configuration wants it served.
    pub(crate) fn is_configured(&self, bundle: &ServedBundle) -> bool {
        let folder = bundle.engine().bundle().folder();
        self.beside.iter().any(|beside| beside == folder)
    }

    /// Loads a verified bundle beside the one in use; one that is served already is answered as it is. `before` sees
    /// the new one before any request does.
    pub(crate) fn serve(
        &self,
        bundle: Bundle,
        before: impl FnOnce(&ServedBundle),
    ) -> Result<Arc<ServedBundle>> {
        let _one_at_a_time = self.loading.lock();
        if let Some(served) = self.get(bundle.id()) {
            return Ok(served);
        }
        let id = bundle.id().to_owned();
        let reason = "it was dropped and still computes; ask again in a moment";
        ensure!(self.is_released(&id), BundleNeededSnafu { bundle: id, reason });
        let served = start(&*self.source, bundle)?;
        before(&served);
        self.served.write().others.push(Arc::clone(&served));
        Ok(served)
    }

    /// Removes the bank of a bundle that is not served, unless it came to be served again or still computes.
    pub(crate) fn remove_bank(&self, id: &str) -> Result<()> {
        let _one_at_a_time = self.loading.lock();
        if self.get(id).is_some() || !self.is_released(id) {
            return Ok(());
        }
        self.source.remove_bank(id).context(BundlesSnafu)
    }

    /// Makes a served bundle the one in use, durably; the one before stays served.
    pub(crate) fn switch_to(&self, bundle: &Arc<ServedBundle>) -> Result<()> {
        let before = self.in_use();
        self.choices.use_now(bundle.choice(), before.choice()).context(crate::error::JournalSnafu)?;
        let mut served = self.served.write();
        served.others.retain(|other| other.id() != bundle.id());
        let before = std::mem::replace(&mut served.in_use, Arc::clone(bundle));
        if before.id() != bundle.id() {
            served.others.push(before);
        }
        Ok(())
    }

    /// Serves a bundle no longer. Whoever computes with it comes to an end; [`Bundles::is_released`] tells when. What is
    /// answered may be its last handle, whose end waits for the device: to be dropped while no lock is held.
    #[must_use]
    pub(crate) fn withdraw(&self, id: &str) -> Option<Arc<ServedBundle>> {
        let mut served = self.served.write();
        let place = served.others.iter().position(|bundle| bundle.id() == id)?;
        let gone = served.others.remove(place);
        self.leaving.lock().push((id.to_owned(), gone.until_closed()));
        Some(gone)
    }

    /// Whether nobody computes with a withdrawn bundle any more, and its engine and bank are closed.
    pub(crate) fn is_released(&self, id: &str) -> bool {
        let mut leaving = self.leaving.lock();
        leaving.retain(|(_, open)| open.strong_count() > 0);
        !leaving.iter().any(|(other, _)| other == id)
    }

    /// Removes the banks of bundles that are neither served nor asked for: those of dropped ones, and where
    /// `is_complete` says that the served ones lack nothing, all.
    pub(crate) fn remove_unused_banks(&self, is_complete: bool) -> Result<()> {
        let decided = self.choices.decided();
        let mut used: BTreeSet<String> = self.all().iter().map(|bundle| bundle.id().to_owned()).collect();
        used.extend(decided.asked.map(|asked| asked.bundle.id));
        // One that could not be loaded this time is not unwanted.
        used.extend(decided.kept.into_iter().map(|kept| kept.id));
        for id in self.source.banks().context(BundlesSnafu)? {
            if !used.contains(&id) && (is_complete || decided.dropped.contains(&id)) {
                tracing::info!(bundle = id, "removing the exemplars of a bundle that is no longer served");
                self.remove_bank(&id)?;
            }
        }
        Ok(())
    }
}

/// The bundle that a person chose, else the configured one. Should the chosen one be broken, the one that was asked
/// for in its place comes into use at once, since nothing else serves.
fn load_in_use(source: &dyn BundleSource, choices: &Choices, first: &Path) -> Result<Arc<ServedBundle>> {
    let Decided { in_use, asked, .. } = choices.decided();
    let Some(chosen) = in_use else { return load(source, first) };
    match (load(source, &chosen.folder), asked) {
        (Ok(in_use), _) => {
            if chosen.id != in_use.id() {
                tracing::warn!(
                    chosen = chosen.id,
                    found = in_use.id(),
                    "the bundle in use was replaced in its folder"
                );
            }
            Ok(in_use)
        }
        (Err(error), Some(asked)) => {
            tracing::error!(error = %crate::report(&error), next = asked.bundle.id, "the bundle in use is broken");
            let next = load(source, &asked.bundle.folder)?;
            choices.use_now(next.choice(), chosen).context(crate::error::JournalSnafu)?;
            Ok(next)
        }
        (Err(error), None) => {
            tracing::error!(
                "the bundle in use is broken; restore it, or choose another with `engram models use NAME`"
            );
            Err(error)
        }
    }
}

fn load(source: &dyn BundleSource, folder: &Path) -> Result<Arc<ServedBundle>> {
    start(source, Bundle::open(folder).context(OpenBundleSnafu { folder })?)
}

fn start(source: &dyn BundleSource, bundle: Bundle) -> Result<Arc<ServedBundle>> {
    let id = bundle.id().to_owned();
    let (engine, bank) = source.start(bundle).context(StartBundleSnafu { bundle: id })?;
    Ok(Arc::new(ServedBundle::new(engine, bank)))
}
