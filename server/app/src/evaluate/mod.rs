//! Measuring the method on annotated cases. The exemplars go into a store of their own and through the same
//! ingestion as everywhere; each target goes through the same segmentation as a job's, so what is measured is
//! what a server gives. Or a running server's own bank is measured, from outside.

mod cases;
mod outside;
mod pictures;
mod protocol;
mod remote;
mod report;
mod run;
mod score;
mod table;
mod timing;
mod truth;

pub use outside::OutsideMethod;
pub use protocol::{chosen, named};
pub use remote::{RemoteWishes, evaluate as evaluate_server};
pub use report::Report;
pub use run::{Wishes, evaluate};
pub use table::{markdown, text};
