//! Several calls as one computation, and its answer as theirs.

use ndarray::{ArrayD, ArrayViewD, Axis, CowArray, Slice, concatenate};

use crate::request::{Answer, Failure, Request, Tensor, Value};
use crate::signature::Signature;

/// Computes a batch of calls that fit each other with `run`; an answer each, in their order.
pub(crate) fn compute(
    batch: &[Request],
    signature: &Signature,
    run: impl FnOnce(&[Tensor<'_>], usize) -> Result<Answer, Failure>,
) -> Result<Vec<Answer>, Failure> {
    match batch {
        [single] => {
            let inputs: Vec<_> = single.inputs.iter().map(Value::whole).collect();
            Ok(vec![run(&inputs, single.rows)?])
        }
        several => {
            let rows = several.iter().map(|request| request.rows).sum();
            Ok(part(&run(&merge(several, signature)?, rows)?, several))
        }
    }
}

/// The inputs of several calls as those of one: rows below each other, shared tensors once.
fn merge<'a>(batch: &'a [Request], signature: &Signature) -> Result<Vec<Tensor<'a>>, Failure> {
    let merged = signature.inputs.iter().enumerate().map(|(position, port)| {
        let values: Vec<_> = batch.iter().filter_map(|request| request.inputs.get(position)).collect();
        match values.first() {
            Some(shared) if !port.by_row() => Ok(shared.whole()),
            _ => stack_values(&values),
        }
    });
    merged.collect()
}

/// What each call gets of the whole answer: as many rows as it brought.
fn part(whole: &Answer, batch: &[Request]) -> Vec<Answer> {
    let mut from = 0;
    let mut part_of = |request: &Request| {
        let rows = Slice::from(from..from + request.rows);
        from += request.rows;
        let cut = |array: &ArrayD<f32>| array.slice_axis(Axis(0), rows).to_owned();
        whole.iter().map(|output| output.as_ref().map(cut)).collect()
    };
    batch.iter().map(&mut part_of).collect()
}

/// The answers to the pieces of one call as the answer to the call.
pub(crate) fn assemble(mut pieces: Vec<Answer>) -> Result<Answer, Failure> {
    if pieces.len() == 1 {
        return Ok(pieces.pop().unwrap_or_default());
    }
    let outputs = pieces.iter().map(Vec::len).min().unwrap_or_default();
    let output = |position: usize| {
        let parts: Option<Vec<_>> =
            pieces.iter().map(|piece| piece.get(position)?.as_ref().map(|array| array.view())).collect();
        parts.map(|parts| stack(&parts)).transpose()
    };
    (0..outputs).map(output).collect()
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
    concatenate(Axis(0), parts).map_err(|error| Failure::Call(format!("could not join tensors: {error}")))
}
