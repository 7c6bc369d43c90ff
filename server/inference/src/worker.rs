//! The owner thread of a device: it alone touches what computes there.

use std::any::Any;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::bounded;
use snafu::{OptionExt, ResultExt};

use crate::error::{DeviceStoppedSnafu, StartThreadSnafu};
use crate::metrics::Counters;
use crate::queue::Queue;
use crate::request::{Answer, Failure, Request, Tensor};
use crate::signature::Signature;
use crate::turn::Turn;
use crate::{Device, Graph, Result, batch};

/// Batches in a row that a device may fail at before it is retired.
const FAILURES: u32 = 3;

/// What computes on a device.
pub(crate) trait Compute {
    /// Computes a graph on `rows` rows; inputs and answer in the order of its signature.
    fn run(&mut self, graph: Graph, inputs: &[Tensor<'_>], rows: usize) -> Result<Answer, Failure>;
}

/// Makes what computes on a device, on its owner thread; touches the device only when it is its turn.
pub(crate) type Load = Box<dyn FnOnce(&Turn) -> Result<Box<dyn Compute>> + Send>;

/// What the owner threads of an engine share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) queue: Arc<Queue>,
    pub(crate) counters: Arc<Counters>,
    /// By [`Graph::position`].
    pub(crate) signatures: Arc<[Signature]>,
}

/// A device at work.
struct Worker {
    position: usize,
    device: Device,
    shared: Shared,
    turn: Turn,
    compute: Box<dyn Compute>,
    /// Batches it has failed at since it last answered one.
    failures: u32,
}

/// Starts the owner thread of `device`, the engine's one at `position`, and waits until it has loaded.
pub(crate) fn start(position: usize, device: Device, shared: Shared, load: Load) -> Result<JoinHandle<()>> {
    let (loaded, answer) = bounded(1);
    let turn = Turn::of(device);
    let work = move || {
        match load(&turn) {
            Ok(compute) => {
                // Whoever starts a thread waits for this answer; here and below.
                let _ = loaded.send(Ok(()));
                let mut worker = Worker { position, device, shared, turn, compute, failures: 0 };
                worker.run();
                worker.leave();
            }
            Err(error) => {
                let _ = loaded.send(Err(error));
            }
        }
    };
    let thread = thread::Builder::new().name(format!("engram-{device}"));
    let thread = thread.spawn(work).context(StartThreadSnafu { device })?;
    let reason = || format!("the thread of {device} ended while it loaded");
    answer.recv().ok().with_context(|| DeviceStoppedSnafu { reason: reason() })??;
    Ok(thread)
}

impl Worker {
    /// Answers calls until every handle of the engine is gone or the device is retired.
    fn run(&mut self) {
        let shared = self.shared.clone();
        let fits = |a: &Request, b: &Request| a.fits(b, &shared.signatures[b.graph.position()]);
        while let Some(batch) = shared.queue.take(self.position, fits) {
            if self.answer(batch).is_break() {
                return;
            }
        }
    }

    /// Frees what computes, when it is this device's turn.
    fn leave(self) {
        let Self { turn, compute, .. } = self;
        let _turn = turn.wait();
        drop(compute);
    }

    /// Computes a batch and answers each of its calls, or leaves them to other devices.
    fn answer(&mut self, batch: Vec<Request>) -> ControlFlow<()> {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.compute(&batch)));
        match outcome {
            Ok(Ok(answers)) => {
                self.failures = 0;
                for (request, answer) in batch.iter().zip(answers) {
                    request.answer(Ok(answer));
                }
                ControlFlow::Continue(())
            }
            Ok(Err(Failure::Device(message))) => self.fail(batch, message),
            Ok(Err(failure)) => {
                for request in &batch {
                    request.answer(Err(failure.clone()));
                }
                ControlFlow::Continue(())
            }
            Err(panic) => self.break_down(batch, &words(panic.as_ref())),
        }
    }

    fn compute(&mut self, requests: &[Request]) -> Result<Vec<Answer>, Failure> {
        let Some(graph) = requests.first().map(|request| request.graph) else { return Ok(Vec::new()) };
        let Self { position, shared, turn, compute, .. } = self;
        batch::compute(requests, &shared.signatures[graph.position()], |inputs, rows| {
            let _turn = turn.wait();
            let started = Instant::now();
            let answer = compute.run(graph, inputs, rows);
            shared.counters.ran(*position, graph, rows, started.elapsed());
            answer
        })
    }

    /// The device failed at a batch: others may do better. One that keeps failing is retired, but never the last: its
    /// callers are told each failure, and it may recover.
    fn fail(&mut self, batch: Vec<Request>, message: String) -> ControlFlow<()> {
        let Self { position, device, shared, .. } = self;
        tracing::warn!(%device, message, "a device failed");
        shared.counters.failed(*position);
        self.failures = self.failures.saturating_add(1);
        let reason = format!("{device} failed {} times in a row: {message}", self.failures);
        shared.queue.give_back(*position, batch, &Failure::Device(message));
        if self.failures < FAILURES || !shared.queue.retire_unless_last(*position, &reason) {
            return ControlFlow::Continue(());
        }
        tracing::error!(%device, reason, "device retired; its work goes to the others");
        ControlFlow::Break(())
    }

    /// What computes panicked, so nothing is known of its state: the device is retired at once.
    fn break_down(&mut self, batch: Vec<Request>, message: &str) -> ControlFlow<()> {
        let Self { position, device, shared, .. } = self;
        let reason = format!("{device} broke down: {message}");
        shared.counters.failed(*position);
        tracing::error!(%device, reason, "device retired; its work goes to the others");
        shared.queue.retire(*position, &reason);
        shared.queue.give_back(*position, batch, &Failure::Device(reason));
        ControlFlow::Break(())
    }
}

/// What a panic says.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_owned()
}
