//! The ONNX Runtime sessions of one device.

use std::path::Path;

use ndarray::{ArrayD, ArrayViewD};
use ort::environment::Environment;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue, SessionOutputs};
use ort::value::{PrimitiveTensorElementType, Tensor as OrtTensor, TensorRef};
use ort::{Error as OrtError, ErrorCode};
use snafu::ResultExt;

use crate::error::LoadGraphSnafu;
use crate::heap;
use crate::provider;
use crate::request::{Answer, Failure, Tensor};
use crate::signature::{Dim, Dims, Port, Signature};
use crate::turn::Turn;
use crate::worker::Compute;
use crate::{Bundle, Device, Graph, Result};

/// The sessions of a bundle's graphs.
pub(crate) struct Sessions {
    /// By [`Graph::position`]; none for a role that the bundle does not have.
    graphs: Vec<Option<Loaded>>,
}

/// A loaded graph.
struct Loaded {
    session: Session,
    signature: Signature,
    /// Memory that the device reaches without the processor, where it has such memory.
    pinned: Option<Pinned>,
}

/// Page-locked memory for a session's inputs and outputs: an accelerator copies from and to it by itself.
struct Pinned {
    inputs: Allocator,
    outputs: MemoryInfo<'static>,
}

impl Sessions {
    /// Loads every graph of the bundle on `device` and checks it against the manifest. Each waits for its turn: others
    /// compute between two of them.
    pub(crate) fn load(
        environment: &Environment,
        bundle: &Bundle,
        device: Device,
        threads: usize,
        turn: &Turn,
    ) -> Result<Self> {
        let load = |graph: Graph| -> Result<Option<Loaded>> {
            let Some(file) = bundle.graph_path(graph) else { return Ok(None) };
            let _turn = turn.wait();
            let session = session(environment, &file, bundle, device, threads)
                .context(LoadGraphSnafu { graph, device })?;
            let signature = Signature::of(graph, bundle.spec());
            signature.check(graph, &session)?;
            let pinned = Pinned::of(device, &session);
            Ok(Some(Loaded { session, signature, pinned }))
        };
        let mut graphs = Vec::with_capacity(Graph::ALL.len());
        for graph in Graph::ALL {
            match load(graph) {
                Ok(loaded) => graphs.push(loaded),
                Err(error) => {
                    let _turn = turn.wait();
                    drop(graphs);
                    return Err(error);
                }
            }
        }
        heap::give_back();
        Ok(Self { graphs })
    }
}

impl Compute for Sessions {
    fn run(&mut self, graph: Graph, inputs: &[Tensor<'_>], rows: usize) -> Result<Answer, Failure> {
        match &mut self.graphs[graph.position()] {
            Some(loaded) => loaded.run(inputs, rows),
            // The engine sends no call for a role that the bundle lacks.
            None => Err(Failure::Call("the bundle has no such graph".to_owned())),
        }
    }
}

impl Loaded {
    fn run(&mut self, inputs: &[Tensor<'_>], rows: usize) -> Result<Answer, Failure> {
        match &self.pinned {
            None => run_unbound(&mut self.session, &self.signature, inputs, rows),
            Some(pinned) => run_bound(&mut self.session, &self.signature, pinned, inputs, rows),
        }
    }
}

impl Pinned {
    /// Pinned memory of an NVIDIA GPU. ONNX Runtime keeps it under the GPU's number or under 0, depending on its
    /// version (its issue 24453).
    fn of(device: Device, session: &Session) -> Option<Self> {
        let (Device::Cuda(number) | Device::TensorRt(number)) = device else { return None };
        let number = i32::try_from(number).ok()?;
        let pinned = [number, 0]
            .into_iter()
            .find_map(|number| Self::at(session, AllocationDevice::CUDA_PINNED, number).ok());
        if pinned.is_none() {
            tracing::warn!(%device, "ONNX Runtime offers no pinned memory: copies to the device take longer");
        }
        pinned
    }

    fn at(session: &Session, kind: AllocationDevice<'static>, number: i32) -> ort::Result<Self> {
        let memory = |use_as| MemoryInfo::new(kind.clone(), number, AllocatorType::Device, use_as);
        let inputs = Allocator::new(session, memory(MemoryType::CPUInput)?)?;
        Ok(Self { inputs, outputs: memory(MemoryType::CPUOutput)? })
    }
}

fn session(
    environment: &Environment,
    file: &Path,
    bundle: &Bundle,
    device: Device,
    threads: usize,
) -> ort::Result<Session> {
    Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(threads)?
        // Every graph has its own threads; while one computes, those of the others must not burn its cores.
        .with_intra_op_spinning(false)?
        // What attention and votes make of far and unlike places are the smallest numbers there are, with which
        // processors reckon a hundred times slower; none of them matters beside 1. It counts for the session's own
        // threads, and for the owner's in the process's first session alone.
        .with_flush_to_zero()?
        // Shapes change from call to call, so a pattern of one call's memory does not fit the next. DirectML asks
        // for this, too.
        .with_memory_pattern(false)?
        .with_execution_providers(provider::providers(device, bundle.spec()))?
        .commit_from_file(file)
}

/// Runs a session on tensors where they lie.
fn run_unbound(
    session: &mut Session,
    signature: &Signature,
    inputs: &[Tensor<'_>],
    rows: usize,
) -> Result<Answer, Failure> {
    let mut named = Vec::with_capacity(inputs.len());
    for (port, tensor) in signature.inputs.iter().zip(inputs) {
        let value: SessionInputValue<'_> = match tensor {
            Tensor::F32(array) => TensorRef::from_array_view(array).map_err(failure)?.into(),
            Tensor::I64(array) => TensorRef::from_array_view(array).map_err(failure)?.into(),
        };
        named.push((port.name, value));
    }
    read(&session.run(named).map_err(failure)?, signature, rows)
}

/// Runs a session on copies in pinned memory and has it answer there.
fn run_bound(
    session: &mut Session,
    signature: &Signature,
    pinned: &Pinned,
    inputs: &[Tensor<'_>],
    rows: usize,
) -> Result<Answer, Failure> {
    let mut binding = session.create_binding().map_err(failure)?;
    for (port, tensor) in signature.inputs.iter().zip(inputs) {
        let bound = match tensor {
            Tensor::F32(array) => {
                binding.bind_input(port.name, &pin(pinned, &array.view()).map_err(failure)?)
            }
            Tensor::I64(array) => {
                binding.bind_input(port.name, &pin(pinned, &array.view()).map_err(failure)?)
            }
        };
        bound.map_err(failure)?;
    }
    let declared = |port: &&Port| session.outputs().iter().any(|output| output.name() == port.name);
    for port in signature.outputs.iter().filter(declared) {
        binding.bind_output_to_device(port.name, &pinned.outputs).map_err(failure)?;
    }
    binding.synchronize_inputs().map_err(failure)?;
    let outputs = session.run_binding(&binding).map_err(failure)?;
    binding.synchronize_outputs().map_err(failure)?;
    read(&outputs, signature, rows)
}

/// A copy of a tensor in pinned memory.
fn pin<T>(pinned: &Pinned, array: &ArrayViewD<'_, T>) -> ort::Result<OrtTensor<T>>
where
    T: PrimitiveTensorElementType + Clone + std::fmt::Debug,
{
    let mut tensor = OrtTensor::<T>::new(&pinned.inputs, array.shape())?;
    tensor.try_extract_array_mut::<T>()?.assign(array);
    Ok(tensor)
}

/// Copies the outputs out of the session's memory.
fn read(outputs: &SessionOutputs<'_>, signature: &Signature, rows: usize) -> Result<Answer, Failure> {
    let output = |port: &Port| -> Result<Option<ArrayD<f32>>, Failure> {
        let Some(value) = outputs.get(port.name) else {
            let reason = || Failure::Answer(format!("there is no output \"{}\"", port.name));
            return if port.optional { Ok(None) } else { Err(reason()) };
        };
        let array = value.try_extract_array::<f32>().map_err(failure)?;
        check(port, array.shape(), rows)?;
        Ok(Some(array.to_owned()))
    };
    signature.outputs.iter().map(output).collect()
}

fn check(port: &Port, shape: &[usize], rows: usize) -> Result<(), Failure> {
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

/// Words of ONNX Runtime's messages that speak of the device, not of the call. Its codes do not tell: what CUDA says
/// comes as a general failure.
const DEVICE_WORDS: [&str; 9] = [
    "cuda",
    "cudnn",
    "cublas",
    "tensorrt",
    "out of memory",
    "failed to allocate memory",
    "bad_alloc",
    "bad allocation",
    "device removed",
];

/// Whose failure an error is.
fn failure(error: OrtError) -> Failure {
    let message = error.to_string();
    let lower = message.to_lowercase();
    let of_device = match error.code() {
        ErrorCode::ExecutionProviderFailure | ErrorCode::EngineError | ErrorCode::DeviceReset => true,
        ErrorCode::InvalidArgument | ErrorCode::NotImplemented | ErrorCode::InvalidGraph => false,
        _ => DEVICE_WORDS.iter().any(|words| lower.contains(words)),
    };
    if of_device { Failure::Device(message) } else { Failure::Call(message) }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array, IxDyn};

    use super::*;
    use crate::request::Value;
    use crate::runtime;
    use crate::signature::Element;

    fn loaded_runtime() -> runtime::Runtime {
        runtime::load(&runtime::locate(None, &[Device::Cpu]).unwrap()).unwrap()
    }

    #[test]
    fn whose_failure_an_error_is() {
        let _makes_the_errors = loaded_runtime();
        for (code, message, of_device) in [
            (ErrorCode::GenericFailure, "CUDA failure 700: an illegal memory access was encountered", true),
            (ErrorCode::GenericFailure, "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED", true),
            (ErrorCode::RuntimeException, "Failed to allocate memory for requested buffer of size 9", true),
            (ErrorCode::ExecutionProviderFailure, "EP failed", true),
            (ErrorCode::GenericFailure, "Non-zero status code returned while running Reshape node", false),
            (ErrorCode::InvalidArgument, "Got invalid dimensions for input: cuda", false),
        ] {
            let failure = failure(OrtError::new_with_code(code, message));
            assert_eq!(matches!(failure, Failure::Device(_)), of_device, "{message}");
        }
    }

    /// Bound to memory of the processor instead of pinned memory, which needs a GPU.
    #[test]
    fn bound_and_unbound_runs_answer_the_same() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/compact");
        let bundle = Bundle::open(folder).unwrap();
        let environment = loaded_runtime().environment;
        let mut sessions =
            Sessions::load(&environment, &bundle, Device::Cpu, 1, &Turn::of(Device::Cpu)).unwrap();
        for graph in Graph::ALL {
            let Some(loaded) = &mut sessions.graphs[graph.position()] else { continue };
            let inputs: Vec<_> = loaded.signature.inputs.iter().map(some_input).collect();
            let tensors = || inputs.iter().map(Value::whole).collect::<Vec<_>>();
            let unbound = loaded.run(&tensors(), 2).unwrap();
            loaded.pinned = Some(Pinned::at(&loaded.session, AllocationDevice::CPU, 0).unwrap());
            for _ in 0..2 {
                assert_eq!(loaded.run(&tensors(), 2).unwrap(), unbound, "{graph}");
            }
        }
    }

    /// A call without any pointer has such tensors.
    #[test]
    fn empty_tensors_can_be_pinned() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/compact");
        let bundle = Bundle::open(folder).unwrap();
        let (environment, turn) = (loaded_runtime().environment, Turn::of(Device::Cpu));
        let sessions = Sessions::load(&environment, &bundle, Device::Cpu, 1, &turn).unwrap();
        let loaded = sessions.graphs[Graph::MaskDecoder.position()].as_ref().unwrap();
        let pinned = Pinned::at(&loaded.session, AllocationDevice::CPU, 0).unwrap();
        let tensor = pin(&pinned, &Array::<f32, _>::zeros(IxDyn(&[2, 0, 4])).view()).unwrap();
        assert_eq!(tensor.try_extract_array::<f32>().unwrap().shape(), [2, 0, 4]);
    }

    /// Two rows, three of everything else that may vary.
    fn some_input(port: &Port) -> Value {
        let size = |dim: &Dim| match dim {
            Dim::Rows => 2,
            Dim::Fixed(size) => *size,
            _ => 3,
        };
        let shape: Vec<usize> = port.dims.iter().map(size).collect();
        match port.element {
            Element::F32 => {
                let mut next = 0u32;
                Value::F32(Array::from_shape_simple_fn(IxDyn(&shape), || {
                    next = next.wrapping_add(1);
                    (next % 17) as f32 / 17.0
                }))
            }
            Element::I64 => Value::I64(Array::from_elem(IxDyn(&shape), 1)),
        }
    }
}
