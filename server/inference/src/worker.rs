//! The owner thread of a device: it alone touches the sessions, and joins waiting calls into batches.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Receiver;
use ndarray::{ArrayD, ArrayViewD, Axis, CowArray, Slice, concatenate};
use ort::environment::Environment;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::TensorRef;
use snafu::ResultExt;

use crate::error::LoadGraphSnafu;
use crate::metrics::Counters;
use crate::request::{Answer, Failure, Request, Tensor, Value};
use crate::signature::{Dim, Dims, Port, Signature};
use crate::{Bundle, Graph, Result};

/// Requests taken off the channel ahead of being computed, to look for company for the first.
const LOOK_AHEAD: usize = 64;

/// A loaded graph.
struct Loaded {
    session: Session,
    signature: Signature,
}

/// The sessions of a device and the calls that come for them.
pub(crate) struct Worker {
    /// By [`Graph::position`]; none for a role that the bundle does not have.
    graphs: Vec<Option<Loaded>>,
    calls: Receiver<Request>,
    counters: Arc<Counters>,
}

impl Worker {
    /// Loads every graph of the bundle and checks it against the manifest.
    pub(crate) fn load(
        environment: &Environment,
        bundle: &Bundle,
        threads: usize,
        calls: Receiver<Request>,
        counters: Arc<Counters>,
    ) -> Result<Self> {
        let load = |graph: Graph| -> Result<Option<Loaded>> {
            let Some(file) = bundle.graph_path(graph) else { return Ok(None) };
            let session = session(environment, &file, threads).context(LoadGraphSnafu { graph })?;
            let signature = Signature::of(graph, bundle.spec());
            signature.check(graph, &session)?;
            Ok(Some(Loaded { session, signature }))
        };
        let graphs = Graph::ALL.into_iter().map(load).collect::<Result<_>>()?;
        Ok(Self { graphs, calls, counters })
    }

    /// Answers calls until every handle of the engine is gone.
    pub(crate) fn run(mut self) {
        let mut waiting = VecDeque::new();
        loop {
            if waiting.is_empty() {
                let Ok(first) = self.calls.recv() else { return };
                waiting.push_back(first);
            }
            let room = LOOK_AHEAD.saturating_sub(waiting.len());
            waiting.extend(self.calls.try_iter().take(room));
            if let Some(first) = waiting.pop_front() {
                self.answer(first, &mut waiting);
            }
        }
    }

    /// Computes `first` with whatever waiting call fits it, and answers each.
    fn answer(&mut self, first: Request, waiting: &mut VecDeque<Request>) {
        let graph = first.graph;
        let Some(Loaded { session, signature }) = &mut self.graphs[graph.position()] else {
            // The engine sends no call for a role that the bundle lacks.
            let _ = first.reply.send(Err(Failure::Compute("the bundle has no such graph".to_owned())));
            return;
        };
        let batch = join(first, waiting, signature);
        self.counters.answered(graph, batch.len());
        let mut run = |inputs: &[Tensor<'_>], rows: usize| {
            let started = Instant::now();
            let answer = compute(session, signature, inputs, rows);
            self.counters.ran(graph, rows, started.elapsed());
            answer
        };
        match batch.as_slice() {
            [single] => {
                // A caller that went away needs no answer; here and below.
                let _ = single.reply.send(chunked(single, signature, &mut run));
            }
            several => match merged(several, signature, &mut run) {
                Ok(answers) => {
                    for (request, answer) in several.iter().zip(answers) {
                        let _ = request.reply.send(Ok(answer));
                    }
                }
                Err(failure) => {
                    for request in several {
                        let _ = request.reply.send(Err(failure.clone()));
                    }
                }
            },
        }
    }
}

fn session(environment: &Environment, file: &Path, threads: usize) -> ort::Result<Session> {
    Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(threads)?
        // Every graph has its own threads; while one computes, those of the others must not burn its cores.
        .with_intra_op_spinning(false)?
        // Shapes change from call to call, so a pattern of one call's memory does not fit the next.
        .with_memory_pattern(false)?
        .commit_from_file(file)
}

/// Takes the waiting calls that fit `first` and leaves the others in their order.
fn join(first: Request, waiting: &mut VecDeque<Request>, signature: &Signature) -> Vec<Request> {
    let mut rows = first.rows;
    let mut batch = vec![first];
    let mut left = VecDeque::with_capacity(waiting.len());
    for request in waiting.drain(..) {
        let first = &batch[0];
        if rows + request.rows <= first.max_rows && request.fits(first, signature) {
            rows += request.rows;
            batch.push(request);
        } else {
            left.push_back(request);
        }
    }
    *waiting = left;
    batch
}

/// One call alone, in pieces where it has more rows than are allowed at once.
fn chunked(
    request: &Request,
    signature: &Signature,
    run: &mut impl FnMut(&[Tensor<'_>], usize) -> Result<Answer, Failure>,
) -> Result<Answer, Failure> {
    if request.rows <= request.max_rows {
        let inputs: Vec<_> = request.inputs.iter().map(Value::whole).collect();
        return run(&inputs, request.rows);
    }
    let mut pieces = Vec::new();
    for from in (0..request.rows).step_by(request.max_rows) {
        let to = request.rows.min(from + request.max_rows);
        let inputs: Vec<_> = request
            .inputs
            .iter()
            .zip(&signature.inputs)
            .map(|(value, port)| if port.by_row() { value.rows(from, to) } else { value.whole() })
            .collect();
        pieces.push(run(&inputs, to - from)?);
    }
    (0..signature.outputs.len())
        .map(|output| {
            let parts: Option<Vec<_>> =
                pieces.iter().map(|piece| piece.get(output)?.as_ref().map(|array| array.view())).collect();
            parts.map(|parts| stack(&parts)).transpose()
        })
        .collect()
}

/// Several calls as one batch; an answer each.
fn merged(
    requests: &[Request],
    signature: &Signature,
    run: &mut impl FnMut(&[Tensor<'_>], usize) -> Result<Answer, Failure>,
) -> Result<Vec<Answer>, Failure> {
    let mut inputs = Vec::with_capacity(signature.inputs.len());
    for (position, port) in signature.inputs.iter().enumerate() {
        let values: Vec<_> = requests.iter().filter_map(|request| request.inputs.get(position)).collect();
        inputs.push(if port.by_row() { stack_values(&values)? } else { values[0].whole() });
    }
    let rows = requests.iter().map(|request| request.rows).sum();
    let whole = run(&inputs, rows)?;
    let mut from = 0;
    let mut answers = Vec::with_capacity(requests.len());
    for request in requests {
        let rows = Slice::from(from..from + request.rows);
        from += request.rows;
        let cut = |array: &ArrayD<f32>| array.slice_axis(Axis(0), rows).to_owned();
        answers.push(whole.iter().map(|output| output.as_ref().map(cut)).collect());
    }
    Ok(answers)
}

fn stack_values<'a>(values: &[&Value]) -> Result<Tensor<'a>, Failure> {
    let floats: Vec<_> = values.iter().filter_map(|value| value.floats()).collect();
    let integers: Vec<_> = values.iter().filter_map(|value| value.integers()).collect();
    // The signature has seen to it that all values of a port are of one kind.
    Ok(match integers.is_empty() {
        true => Tensor::F32(CowArray::from(stack(&floats)?)),
        false => Tensor::I64(CowArray::from(stack(&integers)?)),
    })
}

fn stack<T: Clone>(parts: &[ArrayViewD<'_, T>]) -> Result<ArrayD<T>, Failure> {
    concatenate(Axis(0), parts).map_err(|error| Failure::Compute(format!("could not join tensors: {error}")))
}

/// Runs a session once.
fn compute(
    session: &mut Session,
    signature: &Signature,
    inputs: &[Tensor<'_>],
    rows: usize,
) -> Result<Answer, Failure> {
    let failed = |error: ort::Error| Failure::Compute(error.to_string());
    let mut named = Vec::with_capacity(inputs.len());
    for (port, tensor) in signature.inputs.iter().zip(inputs) {
        let value: SessionInputValue<'_> = match tensor {
            Tensor::F32(array) => TensorRef::from_array_view(array).map_err(failed)?.into(),
            Tensor::I64(array) => TensorRef::from_array_view(array).map_err(failed)?.into(),
        };
        named.push((port.name, value));
    }
    let outputs = session.run(named).map_err(failed)?;
    signature
        .outputs
        .iter()
        .map(|port| {
            let Some(value) = outputs.get(port.name) else {
                let reason = || Failure::Answer(format!("there is no output \"{}\"", port.name));
                return if port.optional { Ok(None) } else { Err(reason()) };
            };
            let array = value.try_extract_array::<f32>().map_err(failed)?;
            check_answer(port, array.shape(), rows)?;
            Ok(Some(array.to_owned()))
        })
        .collect()
}

fn check_answer(port: &Port, shape: &[usize], rows: usize) -> Result<(), Failure> {
    let fits = shape.len() == port.dims.len()
        && shape.iter().zip(&port.dims).all(|(&size, dim)| match dim {
            Dim::Rows => size == rows,
            Dim::Fixed(wanted) => size == *wanted,
            Dim::Memories | Dim::Pointers | Dim::Prompts | Dim::Any => true,
        });
    if fits {
        return Ok(());
    }
    Err(Failure::Answer(format!("\"{}\" is {shape:?}, not {} with B = {rows}", port.name, Dims(&port.dims))))
}
