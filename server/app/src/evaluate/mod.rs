//! Measuring the method on annotated cases. The exemplars go into a store of their own and through the same
//! ingestion as everywhere; each target goes through the same segmentation as a job's, so what is measured is
//! what a server gives.

mod cases;
mod protocol;
mod report;
mod run;
mod truth;

pub use protocol::{chosen, named};
pub use report::print;
pub use run::{Wishes, evaluate};
