//! One call as it travels to an owner thread: checked, priced, and comparable with others.

use crossbeam_channel::Sender;
use ndarray::{ArrayD, ArrayViewD, Axis, CowArray, IxDyn, Slice};
use snafu::ensure;

use crate::error::CallShapeSnafu;
use crate::signature::{Dim, Dims, Element, Port, Signature};
use crate::{Error, Graph, Result};

/// An input tensor.
#[derive(Debug)]
pub(crate) enum Value {
    F32(ArrayD<f32>),
    I64(ArrayD<i64>),
}

impl Value {
    pub(crate) fn shape(&self) -> &[usize] {
        match self {
            Value::F32(array) => array.shape(),
            Value::I64(array) => array.shape(),
        }
    }

    pub(crate) fn floats(&self) -> Option<ArrayViewD<'_, f32>> {
        match self {
            Value::F32(array) => Some(array.view()),
            Value::I64(_) => None,
        }
    }

    pub(crate) fn integers(&self) -> Option<ArrayViewD<'_, i64>> {
        match self {
            Value::I64(array) => Some(array.view()),
            Value::F32(_) => None,
        }
    }

    fn element(&self) -> Element {
        match self {
            Value::F32(_) => Element::F32,
            Value::I64(_) => Element::I64,
        }
    }

    /// The whole tensor, without a copy where it lies in memory row by row.
    pub(crate) fn whole(&self) -> Tensor<'_> {
        match self {
            Value::F32(array) => Tensor::F32(array.as_standard_layout()),
            Value::I64(array) => Tensor::I64(array.as_standard_layout()),
        }
    }

    /// A copy of some rows of it.
    fn rows(&self, rows: Slice) -> Value {
        match self {
            Value::F32(array) => Value::F32(array.slice_axis(Axis(0), rows).to_owned()),
            Value::I64(array) => Value::I64(array.slice_axis(Axis(0), rows).to_owned()),
        }
    }

    /// A copy of all of it.
    fn copy(&self) -> Value {
        match self {
            Value::F32(array) => Value::F32(array.clone()),
            Value::I64(array) => Value::I64(array.clone()),
        }
    }
}

/// An input tensor in standard layout, borrowed where possible.
pub(crate) enum Tensor<'a> {
    F32(CowArray<'a, f32, IxDyn>),
    I64(CowArray<'a, i64, IxDyn>),
}

/// What the graph answered, an output each in the order of its signature; `None` where an optional one is not there.
pub(crate) type Answer = Vec<Option<ArrayD<f32>>>;

/// Why there is no answer. Every call of a failed batch gets a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The device failed; another may do better.
    Device(String),
    /// ONNX Runtime refused the call; it would do so on any device.
    Call(String),
    /// The graph answered something else than its role asks for.
    Answer(String),
    /// No device is left that could compute.
    Stopped(String),
}

impl Failure {
    pub(crate) fn of(self, graph: Graph) -> Error {
        match self {
            Failure::Device(message) | Failure::Call(message) => Error::Compute { graph, message },
            Failure::Answer(reason) => Error::AnswerShape { graph, reason },
            Failure::Stopped(reason) => Error::DeviceStopped { reason },
        }
    }
}

/// A call on its way, or a piece of one.
pub(crate) struct Request {
    pub(crate) graph: Graph,
    /// Rows of the call; at most `max_rows`.
    pub(crate) rows: usize,
    /// Rows that the batch limit and the memory budget allow at once, at least 1.
    pub(crate) max_rows: usize,
    /// In the order of the signature.
    pub(crate) inputs: Vec<Value>,
    pub(crate) reply: Sender<Result<Answer, Failure>>,
    /// Positions of the devices that failed at it.
    pub(crate) tried: Vec<usize>,
    /// What the last of those said.
    pub(crate) failure: Option<Failure>,
}

impl Request {
    /// Answers the caller. One that went away needs no answer.
    pub(crate) fn answer(&self, outcome: Result<Answer, Failure>) {
        let _ = self.reply.send(outcome);
    }

    /// Whether two calls may be one batch: same graph, same shape of every row, same shared tensors.
    pub(crate) fn fits(&self, other: &Request, signature: &Signature) -> bool {
        self.graph == other.graph
            && signature.inputs.iter().zip(self.inputs.iter().zip(&other.inputs)).all(|(port, pair)| {
                match pair {
                    (a, b) if port.by_row() => a.shape().get(1..) == b.shape().get(1..),
                    (Value::F32(a), Value::F32(b)) => a == b,
                    (Value::I64(a), Value::I64(b)) => a == b,
                    _ => false,
                }
            })
    }
}

/// The dynamic dimensions of a call, as far as its tensors have them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) rows: Option<usize>,
    pub(crate) memories: Option<usize>,
    pub(crate) pointers: Option<usize>,
    pub(crate) prompts: Option<usize>,
}

impl Counts {
    fn slot(&mut self, dim: Dim) -> Option<&mut Option<usize>> {
        match dim {
            Dim::Rows => Some(&mut self.rows),
            Dim::Memories => Some(&mut self.memories),
            Dim::Pointers => Some(&mut self.pointers),
            Dim::Prompts => Some(&mut self.prompts),
            Dim::Any | Dim::Fixed(_) => None,
        }
    }
}

/// The inputs of a call in pieces of at most `max_rows` rows each, with the rows of each piece.
pub(crate) fn pieces(
    inputs: Vec<Value>,
    signature: &Signature,
    rows: usize,
    max_rows: usize,
) -> Vec<(usize, Vec<Value>)> {
    if rows <= max_rows {
        return vec![(rows, inputs)];
    }
    let piece = |from: usize| {
        let to = rows.min(from + max_rows);
        let cut = |(value, port): (&Value, &Port)| match port.by_row() {
            true => value.rows(Slice::from(from..to)),
            false => value.copy(),
        };
        (to - from, inputs.iter().zip(&signature.inputs).map(cut).collect())
    };
    (0..rows).step_by(max_rows).map(piece).collect()
}

/// Checks a call's tensors against the signature and finds its dynamic dimensions.
pub(crate) fn check(graph: Graph, signature: &Signature, inputs: &[Value]) -> Result<Counts> {
    let (given, wanted) = (inputs.len(), signature.inputs.len());
    let reason = || format!("{given} tensors were given, the bundle wants {wanted}");
    ensure!(given == wanted, CallShapeSnafu { graph, reason: reason() });
    let mut counts = Counts::default();
    for (port, value) in signature.inputs.iter().zip(inputs) {
        let reason = || format!("\"{}\" is {:?}, not {}", port.name, value.shape(), Dims(&port.dims));
        ensure!(fits(port, value, &mut counts), CallShapeSnafu { graph, reason: reason() });
    }
    Ok(counts)
}

fn fits(port: &Port, value: &Value, counts: &mut Counts) -> bool {
    value.element() == port.element
        && value.shape().len() == port.dims.len()
        && value.shape().iter().zip(&port.dims).all(|(&size, &dim)| match counts.slot(dim) {
            // Of pointers alone there may be none.
            Some(known) => *known.get_or_insert(size) == size && (size > 0 || dim == Dim::Pointers),
            None => !matches!(dim, Dim::Fixed(wanted) if wanted != size),
        })
}
