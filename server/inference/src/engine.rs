//! The handle through which the rest of the house computes.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::bounded;
use ndarray::{Array, Array1, Array2, Array3, Array4, Array5, Dimension};
use snafu::{OptionExt, ensure};

use crate::budget::Budget;
use crate::error::{AnswerShapeSnafu, CallShapeSnafu};
use crate::metrics::Counters;
use crate::queue::Queue;
use crate::request::{Answer, Failure, Request, Value, check, pieces};
use crate::runtime::Runtime;
use crate::sessions::Sessions;
use crate::signature::Signature;
use crate::turn::Turn;
use crate::worker::{self, Compute, Load, Shared};
use crate::{Bundle, BundleSpec, Device, EngineMetrics, Graph, Result, batch, device, provider, runtime};

/// What [`Device::Auto`] tries before it settles for the processor.
const BEST: Device = Device::Cuda(0);

/// How an engine computes.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// The devices; all of them serve. [`Device::Auto`] stands alone. [`Device::Cpu`] may be there several times.
    pub devices: Vec<Device>,
    /// The ONNX Runtime library, where the configuration names one; see [`runtime::locate`].
    pub library: Option<PathBuf>,
    /// Threads a graph is computed with, on each device. 0: the physical cores, shared evenly between the devices.
    pub threads: usize,
    /// Rows (images or objects) computed at once at the most. At least 1.
    pub max_batch: usize,
    /// Bytes that one computation may take, estimated; bounds both rows and memories. Each device computes one at a
    /// time.
    pub memory_budget_bytes: u64,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            devices: vec![Device::Auto],
            library: None,
            threads: 0,
            max_batch: 16,
            memory_budget_bytes: 2 << 30,
        }
    }
}

/// A bundle loaded on its devices. Cheap to clone; every handle speaks to the same owner threads, which end with the
/// last of them. Methods block until the answer is there; call them from threads that may wait.
///
/// Shapes: B rows (images or objects, independent of each other), N memories; channels and sizes as in
/// [`FeatureSpec`](crate::FeatureSpec). Every method answers [`Error::CallShape`](crate::Error::CallShape) for other
/// shapes, [`Error::OverBudget`](crate::Error::OverBudget) where one row alone is over the memory budget,
/// [`Error::Compute`](crate::Error::Compute) where ONNX Runtime fails, on every device if it is the device that fails,
/// [`Error::DeviceStopped`](crate::Error::DeviceStopped) where no device serves any more.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    bundle: Bundle,
    devices: Vec<Device>,
    budget: Budget,
    shared: Shared,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.queue.close();
        // Sessions must be gone before the process ends and takes ONNX Runtime and CUDA with it.
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// What the retrieval graph makes of images.
#[derive(Debug, Clone)]
pub struct Retrieval {
    /// `[B, D]`, as the graph answers it: not normalised.
    pub cls: Array2<f32>,
    /// `[B, T, D]`, a vector a patch, where the bundle's graph answers them.
    pub patches: Option<Array3<f32>>,
}

/// What the image encoder makes of images.
#[derive(Debug, Clone)]
pub struct ImageFeatures {
    /// `[B, C, h, h]`: what memories condition.
    pub embed: Array4<f32>,
    /// `[B, C0, 4h, 4h]`: finest details, for the decoder.
    pub high_res_0: Array4<f32>,
    /// `[B, C1, 2h, 2h]`: finer details, for the decoder.
    pub high_res_1: Array4<f32>,
}

/// Object pointers for memory attention, for bundles that use them.
#[derive(Debug, Clone)]
pub struct Pointers {
    /// `[B, P, dim]`.
    pub vectors: Array3<f32>,
    /// Temporal distance of each of the P, as the bundle's architecture scales it.
    pub time_differences: Vec<f32>,
}

/// What a person pointed at, for the prompt encoder.
#[derive(Debug, Clone)]
pub struct Clicks {
    /// `[B, K, 2]`: x and y in pixels of the S x S image, 0 the middle of the first. K at least 1.
    pub points: Array3<f32>,
    /// `[B, K]`: 1 in the object, 0 outside of it, 2 and 3 a box's first and last corner, -1 no point.
    pub labels: Array2<i64>,
    /// `[B, 1, m, m]`: logits of the mask to go on from.
    pub mask: Array4<f32>,
    /// `[B, 1]`: 1 where `mask` is one, 0 where there is none.
    pub has_mask: Array2<f32>,
}

/// A prompt encoder's answer, for bundles whose decoder takes prompts.
#[derive(Debug, Clone)]
pub struct Prompts {
    /// `[B, K, C]`.
    pub sparse: Array3<f32>,
    /// `[B, C, h, h]`.
    pub dense: Array4<f32>,
}

/// What the mask decoder answers.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// `[B, tokens, m, m]`, logits.
    pub masks: Array4<f32>,
    /// `[B, tokens]`, the decoder's own guess of each mask's IoU.
    pub iou: Array2<f32>,
    /// `[B, 1]`, logit: above 0 the object is there.
    pub object_score: Array2<f32>,
    /// `[B, tokens, dim]`, for bundles that use pointers.
    pub pointers: Option<Array3<f32>>,
}

impl Engine {
    /// Loads every graph of `bundle` on each of the devices and starts their owner threads.
    ///
    /// # Errors
    /// A list of devices that cannot be meant, ONNX Runtime not found or not loadable, a device that is not there, a
    /// graph that ONNX Runtime refuses or whose inputs and outputs are not what the manifest says.
    pub fn start(bundle: Bundle, options: EngineOptions) -> Result<Self> {
        device::check_list(&options.devices)?;
        let library = runtime::locate(options.library.as_deref(), &options.devices)?;
        let runtime = runtime::load(&library)?;
        match options.devices.as_slice() {
            [Device::Auto] => Self::start_on_best(bundle, &options, &runtime),
            devices => Self::start_on(bundle, &options, &runtime, devices),
        }
    }

    /// Starts on a GPU if that works, else on the processor, and says why.
    fn start_on_best(bundle: Bundle, options: &EngineOptions, runtime: &Runtime) -> Result<Self> {
        if !provider::is_built_in(BEST) {
            let library = runtime.library.display();
            tracing::info!(%library, "computing on the processor: this ONNX Runtime has no CUDA provider");
            return Self::start_on(bundle, options, runtime, &[Device::Cpu]);
        }
        Self::start_on(bundle.clone(), options, runtime, &[BEST]).or_else(|error| {
            let error = error.to_string();
            tracing::warn!(error, "computing on the processor: {BEST} cannot be used");
            Self::start_on(bundle, options, runtime, &[Device::Cpu])
        })
    }

    fn start_on(
        bundle: Bundle,
        options: &EngineOptions,
        runtime: &Runtime,
        devices: &[Device],
    ) -> Result<Self> {
        for device in devices {
            provider::require(runtime, *device, bundle.spec())?;
        }
        let threads = match options.threads {
            0 => (device::physical_cores() / devices.len()).max(1),
            threads => threads,
        };
        let load = |device: Device| -> (Device, Load) {
            let (environment, bundle) = (runtime.environment.clone(), bundle.clone());
            let load = move |turn: &Turn| {
                let sessions = Sessions::load(&environment, &bundle, device, threads, turn)?;
                Ok(Box::new(sessions) as Box<dyn Compute>)
            };
            (device, Box::new(load))
        };
        let engine = Self::assemble(bundle.clone(), options, devices.iter().copied().map(load).collect())?;
        let (devices, library) = (engine.device(), runtime.library.display());
        tracing::info!(bundle = bundle.id(), devices, threads, %library, "engine started");
        Ok(engine)
    }

    /// An engine over what computes on each of its devices.
    pub(crate) fn assemble(
        bundle: Bundle,
        options: &EngineOptions,
        loads: Vec<(Device, Load)>,
    ) -> Result<Self> {
        let signatures = Graph::ALL.into_iter().map(|graph| Signature::of(graph, bundle.spec())).collect();
        let shared = Shared {
            queue: Arc::new(Queue::new(loads.len())),
            counters: Arc::new(Counters::new(loads.len())),
            signatures,
        };
        let devices = loads.iter().map(|(device, _)| *device).collect();
        let budget = Budget::new(options.max_batch.max(1), options.memory_budget_bytes);
        // Made before its threads: where one does not start, it ends those that did.
        let mut inner = Inner { bundle, devices, budget, shared, threads: Vec::new() };
        for (position, (device, load)) in loads.into_iter().enumerate() {
            inner.threads.push(worker::start(position, device, inner.shared.clone(), load)?);
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What the bundle's manifest says.
    pub fn spec(&self) -> &BundleSpec {
        self.inner.bundle.spec()
    }

    /// The bundle.
    pub fn bundle(&self) -> &Bundle {
        &self.inner.bundle
    }

    /// The devices that serve, as the configuration names them: `cuda:0,cuda:1`. Never "auto"; empty where none is
    /// left.
    pub fn device(&self) -> String {
        let serving = self.devices().into_iter().filter(|(_, retired)| retired.is_none());
        serving.map(|(device, _)| device.to_string()).collect::<Vec<_>>().join(",")
    }

    /// Calls that wait for a device.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.inner.shared.queue.len()
    }

    /// Every device with why it serves no longer; none: it does.
    fn devices(&self) -> Vec<(Device, Option<String>)> {
        self.inner.devices.iter().copied().zip(self.inner.shared.queue.retired()).collect()
    }

    /// Memories (N) that the budget allows a slice to be conditioned on.
    pub fn max_memories(&self) -> usize {
        self.inner.budget.max_memories(self.spec())
    }

    /// What has been computed since the start.
    pub fn metrics(&self) -> EngineMetrics {
        let mut metrics = self.inner.shared.counters.snapshot(self.devices());
        metrics.graphs.retain(|metrics| self.spec().graph(metrics.graph).is_some());
        metrics
    }

    /// Retrieval vectors of images `[B, 3, s, s]`, normalised as [`RetrievalSpec`](crate::RetrievalSpec) says.
    ///
    /// # Errors
    /// See [`Engine`].
    pub fn retrieval(&self, images: Array4<f32>) -> Result<Retrieval> {
        let mut answer = self.call(Graph::Retrieval, vec![floats(images)])?;
        Ok(Retrieval { cls: answer.take()?, patches: answer.take_optional()? })
    }

    /// Features of images `[B, 3, S, S]`, normalised as [`InputSpec`](crate::InputSpec) says.
    ///
    /// # Errors
    /// See [`Engine`].
    pub fn encode_image(&self, images: Array4<f32>) -> Result<ImageFeatures> {
        let mut answer = self.call(Graph::ImageEncoder, vec![floats(images)])?;
        Ok(ImageFeatures { embed: answer.take()?, high_res_0: answer.take()?, high_res_1: answer.take()? })
    }

    /// Memories `[B, M, h, h]` of features `[B, C, h, h]` with masks `[B, 1, S, S]` (scaled as
    /// [`MemorySpec`](crate::MemorySpec) says) and object scores `[B, 1]` (logits).
    ///
    /// # Errors
    /// See [`Engine`].
    pub fn encode_memory(
        &self,
        embed: Array4<f32>,
        mask: Array4<f32>,
        object_score: Array2<f32>,
    ) -> Result<Array4<f32>> {
        let inputs = vec![floats(embed), floats(mask), floats(object_score)];
        self.call(Graph::MemoryEncoder, inputs)?.take()
    }

    /// Features `[B, C, h, h]` conditioned on memories `[B, N, M, h, h]`, N at least 1, whose temporal indices
    /// `[N]` are the same for every row: [`MemorySpec::conditioning_tpos`](crate::MemorySpec::conditioning_tpos) or
    /// below [`MemorySpec::recent_memories`](crate::MemorySpec::recent_memories). Answers `[B, C2, h, h]`. `pointers` as the bundle uses them or not.
    ///
    /// # Errors
    /// See [`Engine`].
    pub fn attend(
        &self,
        embed: Array4<f32>,
        memories: Array5<f32>,
        tpos: &[i64],
        pointers: Option<Pointers>,
    ) -> Result<Array4<f32>> {
        let graph = Graph::MemoryAttention;
        self.same_use(graph, "pointers", self.spec().pointers.used, pointers.is_some())?;
        let memory = &self.spec().memory;
        let recent = i64::try_from(memory.recent_memories).unwrap_or(i64::MAX);
        // The graph would take a negative index from the end, and fail in its middle for one beyond.
        let unknown = tpos.iter().find(|t| **t != memory.conditioning_tpos && !(0..recent).contains(*t));
        let reason = || format!("the bundle knows no temporal index {}", unknown.unwrap_or(&0));
        ensure!(unknown.is_none(), CallShapeSnafu { graph, reason: reason() });
        let indices = Value::I64(Array1::from(tpos.to_vec()).into_dyn());
        let mut inputs = vec![floats(embed), floats(memories), indices];
        if let Some(Pointers { vectors, time_differences }) = pointers {
            inputs.extend([floats(vectors), floats(Array1::from(time_differences))]);
        }
        self.call(graph, inputs)?.take()
    }

    /// Mask prompts `[B, 1, m, m]` of masks `[B, 1, S, S]`, 0 or 1. For bundles that take prompts.
    ///
    /// # Errors
    /// See [`Engine`].
    pub fn mask_prompt(&self, masks: Array4<f32>) -> Result<Array4<f32>> {
        self.call(Graph::MaskDownsample, vec![floats(masks)])?.take()
    }

    /// Embeddings of what a person pointed at. For bundles that take prompts.
    ///
    /// # Errors
    /// See [`Engine`].
    pub fn encode_prompts(&self, clicks: Clicks) -> Result<Prompts> {
        let Clicks { points, labels, mask, has_mask } = clicks;
        let inputs = vec![floats(points), Value::I64(labels.into_dyn()), floats(mask), floats(has_mask)];
        let mut answer = self.call(Graph::PromptEncoder, inputs)?;
        Ok(Prompts { sparse: answer.take()?, dense: answer.take()? })
    }

    /// Masks from conditioned features `[B, C2, h, h]` and the image's high-resolution features, a row each.
    /// `prompts` as the bundle uses them or not.
    ///
    /// # Errors
    /// See [`Engine`].
    pub fn decode(
        &self,
        cond: Array4<f32>,
        high_res_0: Array4<f32>,
        high_res_1: Array4<f32>,
        prompts: Option<Prompts>,
    ) -> Result<Decoded> {
        let graph = Graph::MaskDecoder;
        self.same_use(graph, "prompts", self.spec().prompts.used, prompts.is_some())?;
        let mut inputs = vec![floats(cond), floats(high_res_0), floats(high_res_1)];
        if let Some(Prompts { sparse, dense }) = prompts {
            inputs.extend([floats(sparse), floats(dense)]);
        }
        let mut answer = self.call(graph, inputs)?;
        Ok(Decoded {
            masks: answer.take()?,
            iou: answer.take()?,
            object_score: answer.take()?,
            pointers: answer.take_optional()?,
        })
    }

    fn same_use(&self, graph: Graph, what: &str, used: bool, given: bool) -> Result<()> {
        let reason = || match used {
            true => format!("this bundle needs {what}"),
            false => format!("this bundle takes no {what}"),
        };
        ensure!(used == given, CallShapeSnafu { graph, reason: reason() });
        Ok(())
    }

    fn call(&self, graph: Graph, inputs: Vec<Value>) -> Result<Outputs> {
        let Inner { shared, budget, .. } = &*self.inner;
        let has_role = self.spec().graph(graph).is_some();
        ensure!(has_role, CallShapeSnafu { graph, reason: "this bundle has no such graph" });
        let signature = &shared.signatures[graph.position()];
        let counts = check(graph, signature, &inputs)?;
        let rows = counts.rows.unwrap_or_default();
        let max_rows = budget.rows(graph, self.spec(), counts.memories.unwrap_or_default())?;
        let answer = self.compute(graph, max_rows, pieces(inputs, signature, rows, max_rows));
        shared.counters.answered(graph);
        let answer = answer.map_err(|failure| failure.of(graph))?;
        Ok(Outputs { graph, answer: answer.into_iter() })
    }

    /// Has the pieces of a call computed, wherever there is a free device, and joins their answers.
    fn compute(
        &self,
        graph: Graph,
        max_rows: usize,
        pieces: Vec<(usize, Vec<Value>)>,
    ) -> Result<Answer, Failure> {
        let mut waiting = Vec::with_capacity(pieces.len());
        for (rows, inputs) in pieces {
            let (reply, answer) = bounded(1);
            let request = Request { graph, rows, max_rows, inputs, reply, tried: Vec::new(), failure: None };
            self.inner.shared.queue.push(request)?;
            waiting.push(answer);
        }
        let stopped = || Failure::Stopped("its thread ended without an answer".to_owned());
        let answers = waiting.into_iter().map(|answer| answer.recv().map_err(|_| stopped())?);
        batch::assemble(answers.collect::<Result<_, _>>()?)
    }
}

fn floats<D: Dimension>(array: Array<f32, D>) -> Value {
    Value::F32(array.into_dyn())
}

/// A graph's outputs, taken in the order of its signature.
struct Outputs {
    graph: Graph,
    answer: <Answer as IntoIterator>::IntoIter,
}

impl Outputs {
    fn take<D: Dimension>(&mut self) -> Result<Array<f32, D>> {
        let reason = "an output is missing";
        self.take_optional()?.context(AnswerShapeSnafu { graph: self.graph, reason })
    }

    fn take_optional<D: Dimension>(&mut self) -> Result<Option<Array<f32, D>>> {
        let Some(array) = self.answer.next().flatten() else { return Ok(None) };
        let reason = "an output has another rank than its role";
        let array = array.into_dimensionality().ok();
        array.context(AnswerShapeSnafu { graph: self.graph, reason }).map(Some)
    }
}
