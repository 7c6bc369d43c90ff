//! What an operator may set.

use time::OffsetDateTime;

/// Limits of a worklist.
#[derive(Clone, Debug)]
pub struct WorklistOptions {
    /// The most workitems that clients may have SCHEDULED or IN PROGRESS. Default 10,000.
    pub max_open: usize,
    /// The most workitems that ended and are kept without a deletion lock, and as many with one; the oldest go first.
    /// Default 1,000.
    pub keep_final: usize,
    /// The most AE titles that subscribe to the worklist as a whole, and the most to one workitem. Default 64.
    pub max_subscribers: usize,
    /// The most connections over which events go out. Default 64.
    pub max_channels: usize,
    /// The largest data set, in bytes of DICOM JSON. Default 256 KiB.
    pub max_bytes: usize,
    /// Where the time comes from.
    pub now: fn() -> OffsetDateTime,
}

impl Default for WorklistOptions {
    fn default() -> Self {
        WorklistOptions {
            max_open: 10_000,
            keep_final: 1_000,
            max_subscribers: 64,
            max_channels: 64,
            max_bytes: 256 << 10,
            now: OffsetDateTime::now_utc,
        }
    }
}
