//! Rules as pure functions: what is known of a series in, what to do about it out. No I/O, no clock; the same facts
//! always lead to the same actions.
//!
//! A [`Rule`] says *when* ([`Condition`]), *then* ([`Then`]) and *send* ([`Send`]). [`decide`] answers what a study's
//! exemplars and requests are subject to, [`plan`] what is to be done unasked.

mod check;
mod condition;
mod facts;
mod pattern;
mod plan;
mod rule;

pub use check::problem;
pub use condition::{Comparison, Condition, Range, Test};
pub use facts::{Facts, Origin, Source};
pub use pattern::RegexPattern;
pub use plan::{Actions, Plan, PlannedForward, PlannedSegmentation, decide, plan};
pub use rule::{Rule, Segment, Send, Then, What};
