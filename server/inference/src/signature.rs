//! What each graph takes and answers, as the bundle's contract and its manifest's numbers say; checked against the
//! graphs when they are loaded and against the tensors of every call.

use std::fmt;

use ort::session::Session;
use ort::value::{Outlet, TensorElementType, ValueType};
use snafu::{OptionExt, ensure};

use crate::error::GraphSignatureSnafu;
use crate::{BundleSpec, Graph, Result};

/// A dimension of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dim {
    /// B: images or objects, computed independently. Always the first.
    Rows,
    /// N: memories, the same number for every row of a call.
    Memories,
    /// P: pointers, the same number for every row of a call.
    Pointers,
    /// K: sparse prompts, the same number for every row of a call.
    Prompts,
    /// Whatever the graph makes of it.
    Any,
    /// A number of the manifest.
    Fixed(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    F32,
    I64,
}

/// An input or output.
#[derive(Debug, Clone)]
pub(crate) struct Port {
    pub(crate) name: &'static str,
    pub(crate) element: Element,
    pub(crate) dims: Vec<Dim>,
    /// An output that a bundle may leave out.
    pub(crate) optional: bool,
}

impl Port {
    fn new(name: &'static str, dims: Vec<Dim>) -> Self {
        Self { name, element: Element::F32, dims, optional: false }
    }

    fn integers(self) -> Self {
        Self { element: Element::I64, ..self }
    }

    fn optional(self) -> Self {
        Self { optional: true, ..self }
    }

    /// Whether every row has its own values, as against one tensor for the whole call.
    pub(crate) fn by_row(&self) -> bool {
        self.dims.first() == Some(&Dim::Rows)
    }
}

/// A graph's inputs and outputs in the order of the contract.
#[derive(Debug, Clone)]
pub(crate) struct Signature {
    pub(crate) inputs: Vec<Port>,
    pub(crate) outputs: Vec<Port>,
}

impl Signature {
    pub(crate) fn of(graph: Graph, spec: &BundleSpec) -> Self {
        use Dim::{Any, Fixed, Memories, Pointers, Prompts, Rows};
        let f = &spec.features;
        let map = |channels, side| vec![Rows, Fixed(channels), Fixed(side), Fixed(side)];
        let embed = || Port::new("image_embed", map(f.embed_channels, f.embed_size));
        let cond = || Port::new("cond_embed", map(f.cond_channels, f.embed_size));
        let high_res_0 = || Port::new("high_res_0", map(f.high_res_0_channels, f.high_res_0_size));
        let high_res_1 = || Port::new("high_res_1", map(f.high_res_1_channels, f.high_res_1_size));
        let score = || Port::new("object_score", vec![Rows, Fixed(1)]);
        let dense = || Port::new("dense", map(f.cond_channels, f.embed_size));
        let pointer = Fixed(spec.pointers.dim);
        let (mut inputs, mut outputs) = match graph {
            Graph::Retrieval => (
                vec![Port::new("image", map(3, spec.retrieval.image_size))],
                vec![
                    Port::new("cls", vec![Rows, Fixed(spec.retrieval.embedding_dim)]),
                    Port::new("patches", vec![Rows, Any, Any]).optional(),
                ],
            ),
            Graph::ImageEncoder => (
                vec![Port::new("image", map(3, spec.input.image_size))],
                vec![embed(), high_res_0(), high_res_1()],
            ),
            Graph::MemoryEncoder => (
                vec![embed(), Port::new("mask_for_mem", map(1, spec.input.image_size)), score()],
                vec![Port::new("memory", map(f.memory_channels, f.memory_size))],
            ),
            Graph::MemoryAttention => {
                let side = Fixed(f.memory_size);
                let memories = vec![Rows, Memories, Fixed(f.memory_channels), side, side];
                (
                    vec![
                        embed(),
                        Port::new("memories", memories),
                        Port::new("tpos_idx", vec![Memories]).integers(),
                    ],
                    vec![cond()],
                )
            }
            Graph::MaskDecoder => (
                vec![cond(), high_res_0(), high_res_1()],
                vec![
                    Port::new("masks", map(f.mask_tokens, f.mask_size)),
                    Port::new("iou", vec![Rows, Fixed(f.mask_tokens)]),
                    score(),
                ],
            ),
            Graph::MaskDownsample => (
                vec![Port::new("mask", map(1, spec.input.image_size))],
                vec![Port::new("mask_prompt", map(1, f.mask_size))],
            ),
            Graph::PromptEncoder => (
                vec![
                    Port::new("points", vec![Rows, Prompts, Fixed(2)]),
                    Port::new("labels", vec![Rows, Prompts]).integers(),
                    Port::new("mask_input", map(1, f.mask_size)),
                    Port::new("has_mask", vec![Rows, Fixed(1)]),
                ],
                vec![Port::new("sparse", vec![Rows, Any, Fixed(f.cond_channels)]), dense()],
            ),
        };
        match graph {
            Graph::MemoryAttention if spec.pointers.used => {
                inputs.push(Port::new("obj_ptrs", vec![Rows, Pointers, pointer]));
                inputs.push(Port::new("ptr_tdiff", vec![Pointers]));
            }
            Graph::MaskDecoder => {
                if spec.prompts.used {
                    inputs.push(Port::new("sparse", vec![Rows, Prompts, Fixed(f.cond_channels)]));
                    inputs.push(dense());
                }
                if spec.pointers.used {
                    outputs.push(Port::new("obj_ptr", vec![Rows, Fixed(f.mask_tokens), pointer]));
                }
            }
            _ => {}
        }
        Self { inputs, outputs }
    }

    /// Compares with what a loaded graph declares.
    pub(crate) fn check(&self, graph: Graph, session: &Session) -> Result<()> {
        for port in &self.inputs {
            check_port(graph, "input", port, session.inputs())?;
        }
        let unknown = session.inputs().iter().find(|i| self.inputs.iter().all(|port| port.name != i.name()));
        if let Some(unknown) = unknown {
            let reason =
                format!("it wants an input \"{}\" that the manifest does not speak of", unknown.name());
            return GraphSignatureSnafu { graph, reason }.fail();
        }
        for port in &self.outputs {
            let there = session.outputs().iter().any(|output| output.name() == port.name);
            if there || !port.optional {
                check_port(graph, "output", port, session.outputs())?;
            }
        }
        Ok(())
    }
}

fn check_port(graph: Graph, side: &str, port: &Port, outlets: &[Outlet]) -> Result<()> {
    let name = port.name;
    let outlet = outlets
        .iter()
        .find(|outlet| outlet.name() == name)
        .with_context(|| GraphSignatureSnafu { graph, reason: format!("it has no {side} \"{name}\"") })?;
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
        return GraphSignatureSnafu { graph, reason: format!("{side} \"{name}\" is no tensor") }.fail();
    };
    let element = match port.element {
        Element::F32 => TensorElementType::Float32,
        Element::I64 => TensorElementType::Int64,
    };
    let reason = || format!("{side} \"{name}\" is of {ty}, not of {element}");
    ensure!(*ty == element, GraphSignatureSnafu { graph, reason: reason() });
    let fits = shape.len() == port.dims.len()
        && shape.iter().zip(&port.dims).all(|(&actual, dim)| match dim {
            Dim::Fixed(size) => actual == -1 || usize::try_from(actual) == Ok(*size),
            Dim::Any => true,
            Dim::Rows | Dim::Memories | Dim::Pointers | Dim::Prompts => actual == -1,
        });
    let reason = || format!("{side} \"{name}\" is {shape:?}, the manifest says {}", Dims(&port.dims));
    ensure!(fits, GraphSignatureSnafu { graph, reason: reason() });
    Ok(())
}

/// Dimensions as people write them: `[B, 3, 128, 128]`.
pub(crate) struct Dims<'a>(pub(crate) &'a [Dim]);

impl fmt::Display for Dims<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|dim| match dim {
            Dim::Rows => "B".to_owned(),
            Dim::Memories => "N".to_owned(),
            Dim::Pointers => "P".to_owned(),
            Dim::Prompts => "K".to_owned(),
            Dim::Any => "?".to_owned(),
            Dim::Fixed(size) => size.to_string(),
        });
        write!(f, "[{}]", names.collect::<Vec<_>>().join(", "))
    }
}
