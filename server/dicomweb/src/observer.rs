//! What the rooms above are told of instances that come and go.

use engram_archive::{StoreOutcome, StoredInstance};

/// What a STOW request said about its instances beyond the standard: both belong to the primary state, which
/// no rebuild from object files could bring back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StowOptions {
    /// `?collection=NAME`: the collection its exemplars go to; `None` leaves it to the rules.
    pub collection: Option<String>,
    /// `?partial=true`: a segmentation that annotates only the slices it has frames for.
    pub partial: bool,
}

/// Why an observer could not do its part.
pub type ObserverError = Box<dyn std::error::Error + Send + Sync>;

/// Told of instances that come and go. Every call is made where blocking is allowed, by several threads at once.
pub trait InstanceObserver: Send + Sync {
    /// Called when a request's instances are durable in the archive and before any is acknowledged: makes
    /// `options` durable for them. Instances that were there already are among them, since a client repeats a
    /// request whose answer it did not get.
    ///
    /// If this fails, the instances stay in the archive, the client is told that storing failed (0110H,
    /// processing failure), and [`InstanceObserver::instance_stored`] is not called before they are sent again.
    fn before_acknowledge(
        &self,
        stored: &[StoreOutcome],
        options: &StowOptions,
    ) -> Result<(), ObserverError> {
        let _ = (stored, options);
        Ok(())
    }

    /// An instance is stored, durable; it may have been there before, and then the observer may have heard of it or not.
    /// Storing cannot fail any more: what goes wrong here is the observer's to keep and to repeat. Must return quickly,
    /// since the client waits.
    fn instance_stored(&self, instance: &StoredInstance, options: &StowOptions) {
        let _ = (instance, options);
    }

    /// Instances are deleted, durably.
    fn deleted(&self, instances: &[StoredInstance]) {
        let _ = instances;
    }
}

/// An observer that wants to know nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl InstanceObserver for NoObserver {}
