//! The engine against the bundle that ships.

use std::path::{Path, PathBuf};
use std::thread;

use ndarray::{Array, Array2, Array4, Array5, Axis, Dimension, ShapeBuilder, Slice, concatenate, s};

use crate::*;

/// Largest difference between the same row computed in different batches.
const TOLERANCE: f32 = 1e-5;

fn compact() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/compact")
}

fn engine(max_batch: usize) -> Engine {
    let options = EngineOptions { max_batch, threads: 1, ..EngineOptions::default() };
    Engine::start(Bundle::open(compact()).unwrap(), options).unwrap()
}

/// Numbers in -1..1, the same for the same seed.
fn noise<D: Dimension, S: ShapeBuilder<Dim = D>>(shape: S, seed: u64) -> Array<f32, D> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    Array::from_shape_simple_fn(shape, || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    })
}

fn difference<D: Dimension>(a: &Array<f32, D>, b: &Array<f32, D>) -> f32 {
    assert_eq!(a.shape(), b.shape());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Inputs of every graph for `rows` rows and `memories` memories.
struct Inputs {
    retrieval: Array4<f32>,
    image: Array4<f32>,
    embed: Array4<f32>,
    mask: Array4<f32>,
    score: Array2<f32>,
    memories: Array5<f32>,
    cond: Array4<f32>,
    high_res_0: Array4<f32>,
    high_res_1: Array4<f32>,
}

impl Inputs {
    fn new(spec: &BundleSpec, rows: usize, memories: usize) -> Self {
        let f = &spec.features;
        let (image, h, m) = (spec.input.image_size, f.embed_size, f.memory_size);
        let retrieval = spec.retrieval.image_size;
        Self {
            retrieval: noise((rows, 3, retrieval, retrieval), 1),
            image: noise((rows, 3, image, image), 2),
            embed: noise((rows, f.embed_channels, h, h), 3),
            mask: noise((rows, 1, image, image), 4),
            score: noise((rows, 1), 5),
            memories: noise((rows, memories, f.memory_channels, m, m), 6),
            cond: noise((rows, f.cond_channels, h, h), 7),
            high_res_0: noise((rows, f.high_res_0_channels, f.high_res_0_size, f.high_res_0_size), 8),
            high_res_1: noise((rows, f.high_res_1_channels, f.high_res_1_size, f.high_res_1_size), 9),
        }
    }

    fn row(&self, row: usize) -> Self {
        fn cut<D: Dimension + ndarray::RemoveAxis>(array: &Array<f32, D>, row: usize) -> Array<f32, D> {
            array.slice_axis(Axis(0), Slice::from(row..row + 1)).to_owned()
        }
        Self {
            retrieval: cut(&self.retrieval, row),
            image: cut(&self.image, row),
            embed: cut(&self.embed, row),
            mask: cut(&self.mask, row),
            score: cut(&self.score, row),
            memories: cut(&self.memories, row),
            cond: cut(&self.cond, row),
            high_res_0: cut(&self.high_res_0, row),
            high_res_1: cut(&self.high_res_1, row),
        }
    }

    /// Every output of every graph.
    fn run(&self, engine: &Engine) -> Vec<Array<f32, ndarray::IxDyn>> {
        let tpos = vec![engine.spec().memory.conditioning_tpos; self.memories.len_of(Axis(1))];
        let retrieval = engine.retrieval(self.retrieval.clone()).unwrap();
        let image = engine.encode_image(self.image.clone()).unwrap();
        let (embed, mask, score) = (self.embed.clone(), self.mask.clone(), self.score.clone());
        let memory = engine.encode_memory(embed.clone(), mask, score).unwrap();
        let cond = engine.attend(embed, self.memories.clone(), &tpos, None).unwrap();
        let (high_res_0, high_res_1) = (self.high_res_0.clone(), self.high_res_1.clone());
        let decoded = engine.decode(self.cond.clone(), high_res_0, high_res_1, None).unwrap();
        assert!(decoded.pointers.is_none());
        vec![
            retrieval.cls.into_dyn(),
            retrieval.patches.unwrap().into_dyn(),
            image.embed.into_dyn(),
            image.high_res_0.into_dyn(),
            image.high_res_1.into_dyn(),
            memory.into_dyn(),
            cond.into_dyn(),
            decoded.masks.into_dyn(),
            decoded.iou.into_dyn(),
            decoded.object_score.into_dyn(),
        ]
    }
}

#[test]
fn every_graph_answers_the_shapes_of_the_manifest() {
    let engine = engine(16);
    let spec = engine.spec();
    let f = &spec.features;
    let outputs = Inputs::new(spec, 2, 3).run(&engine);
    let map = |channels, side| vec![2, channels, side, side];
    assert_eq!(outputs[0].shape(), [2, spec.retrieval.embedding_dim]);
    assert_eq!(outputs[2].shape(), map(f.embed_channels, f.embed_size));
    assert_eq!(outputs[3].shape(), map(f.high_res_0_channels, f.high_res_0_size));
    assert_eq!(outputs[4].shape(), map(f.high_res_1_channels, f.high_res_1_size));
    assert_eq!(outputs[5].shape(), map(f.memory_channels, f.memory_size));
    assert_eq!(outputs[6].shape(), map(f.cond_channels, f.embed_size));
    assert_eq!(outputs[7].shape(), map(f.mask_tokens, f.mask_size));
    assert_eq!(outputs[8].shape(), [2, f.mask_tokens]);
    assert_eq!(outputs[9].shape(), [2, 1]);
    assert!(outputs.iter().flatten().all(|number| number.is_finite()));
}

#[test]
fn the_same_call_has_the_same_answer() {
    let engine = engine(16);
    let inputs = Inputs::new(engine.spec(), 2, 3);
    assert_eq!(inputs.run(&engine), inputs.run(&engine));
}

#[test]
fn rows_do_not_see_each_other() {
    let engine = engine(16);
    let inputs = Inputs::new(engine.spec(), 3, 2);
    let together = inputs.run(&engine);
    let alone: Vec<_> = (0..3).map(|row| inputs.row(row).run(&engine)).collect();
    for (output, whole) in together.iter().enumerate() {
        let rows: Vec<_> = alone.iter().map(|outputs| outputs[output].view()).collect();
        let difference = difference(whole, &concatenate(Axis(0), &rows).unwrap());
        assert!(difference <= TOLERANCE, "output {output}: {difference}");
    }
}

#[test]
fn large_batches_are_computed_in_pieces() {
    let (whole, pieces) = (engine(16), engine(2));
    let inputs = Inputs::new(whole.spec(), 5, 2);
    for (a, b) in inputs.run(&whole).iter().zip(&inputs.run(&pieces)) {
        assert!(difference(a, b) <= TOLERANCE);
    }
    let counted = |engine: &Engine| {
        let metrics = engine.metrics();
        metrics.graphs.iter().map(|graph| (graph.requests, graph.batches, graph.rows)).collect::<Vec<_>>()
    };
    assert_eq!(counted(&whole), [(1, 1, 5); 5]);
    assert_eq!(counted(&pieces), [(1, 3, 5); 5]);
    assert!(pieces.metrics().seconds() > 0.0);
}

#[test]
fn calls_that_wait_together_share_a_batch_and_keep_their_answers() {
    let engine = engine(64);
    let inputs = Inputs::new(engine.spec(), 24, 2);
    let expected = engine.retrieval(inputs.retrieval.clone()).unwrap().cls;
    let before = engine.metrics().graphs[0].batches;
    thread::scope(|scope| {
        for row in 0..24 {
            let (engine, images, expected) = (&engine, inputs.row(row).retrieval, expected.row(row));
            scope.spawn(move || {
                let cls = engine.retrieval(images).unwrap().cls;
                let worst = (&cls.row(0) - &expected).iter().fold(0.0f32, |worst, d| worst.max(d.abs()));
                assert!(worst <= TOLERANCE, "row {row}: {worst}");
            });
        }
    });
    let batches = engine.metrics().graphs[0].batches - before;
    assert!(batches < 24, "24 calls took {batches} batches");
}

#[test]
fn two_devices_answer_what_one_does() {
    let options =
        EngineOptions { devices: vec![Device::Cpu; 2], max_batch: 1, threads: 1, ..EngineOptions::default() };
    let two = Engine::start(Bundle::open(compact()).unwrap(), options).unwrap();
    assert_eq!(two.device(), "cpu,cpu");
    let inputs = Inputs::new(two.spec(), 6, 3);
    for (a, b) in inputs.run(&two).iter().zip(&inputs.run(&engine(16))) {
        assert!(difference(a, b) <= TOLERANCE);
    }
    let devices = two.metrics().devices;
    assert!(devices.iter().all(|device| device.batches > 0 && device.retired.is_none()), "{devices:?}");
    assert_eq!(devices.iter().map(|device| device.batches).sum::<u64>(), 5 * 6);
}

#[test]
fn a_device_that_is_not_there_is_refused_with_what_is_missing() {
    let started = |device| {
        let options = EngineOptions { devices: vec![device], threads: 1, ..EngineOptions::default() };
        Engine::start(Bundle::open(compact()).unwrap(), options)
    };
    // No library for this platform has both.
    let absent = if cfg!(target_os = "macos") { Device::DirectMl(0) } else { Device::CoreMl };
    let error = started(absent).err().unwrap();
    assert!(matches!(error, Error::UseDevice { .. }), "{error}");
    assert!(error.to_string().contains("has no provider for it"), "{error}");
    // Where CUDA is all there, it may work.
    let Err(error) = started(Device::Cuda(0)) else { return };
    assert!(error.to_string().contains("cuda:0"), "{error}");
    assert!(matches!(error, Error::UseDevice { .. } | Error::LoadGraph { .. }), "{error}");
}

#[test]
fn the_order_of_exemplars_does_not_matter_and_the_time_of_a_memory_does() {
    let engine = engine(16);
    let inputs = Inputs::new(engine.spec(), 1, 4);
    let attend = |memories: Array5<f32>, tpos: &[i64]| {
        engine.attend(inputs.embed.clone(), memories, tpos, None).unwrap()
    };
    let conditioning = engine.spec().memory.conditioning_tpos;
    let turned = inputs.memories.slice(s![.., ..;-1, .., .., ..]).to_owned();
    let straight = attend(inputs.memories.clone(), &[conditioning; 4]);
    // Sums in another order round differently, in proportion to what is summed.
    let scale = straight.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
    let other_way = difference(&straight, &attend(turned.clone(), &[conditioning; 4])) / scale;
    assert!(other_way <= TOLERANCE, "{other_way}");
    let timed = attend(inputs.memories.clone(), &[conditioning, conditioning, 1, 0]);
    let same_times = difference(&timed, &attend(turned, &[0, 1, conditioning, conditioning])) / scale;
    assert!(same_times <= TOLERANCE, "{same_times}");
    assert!(difference(&timed, &straight) > TOLERANCE, "temporal indices are ignored");
}

#[test]
fn calls_of_other_shapes_are_refused() {
    let engine = engine(16);
    let Inputs { embed, memories, retrieval, score, .. } = Inputs::new(engine.spec(), 2, 3);
    let refused = |result: Result<Array4<f32>>, what: &str| {
        let error = result.unwrap_err();
        assert!(matches!(&error, Error::CallShape { .. }) && error.to_string().contains(what), "{error}");
    };
    let attend = |embed: &Array4<f32>, memories: &Array5<f32>, tpos: &[i64]| {
        engine.attend(embed.clone(), memories.clone(), tpos, None)
    };
    refused(attend(&embed, &memories, &[6, 6]), "tpos_idx");
    refused(attend(&embed, &memories, &[]), "tpos_idx");
    refused(attend(&embed, &memories, &[6, -1, 0]), "index -1");
    refused(attend(&embed, &memories, &[6, 0, 7]), "index 7");
    refused(attend(&embed, &memories.slice(s![..1, .., .., .., ..]).to_owned(), &[6; 3]), "memories");
    refused(attend(&embed, &memories.slice(s![.., ..0, .., .., ..]).to_owned(), &[]), "memories");
    refused(attend(&retrieval, &memories, &[6; 3]), "image_embed");
    refused(attend(&embed.slice(s![..0, .., .., ..]).to_owned(), &memories, &[6; 3]), "image_embed");
    refused(engine.encode_memory(embed.clone(), retrieval, score), "mask_for_mem");
    let pointers = Pointers { vectors: noise((2, 1, 4), 1), time_differences: vec![0.0] };
    refused(engine.attend(embed, memories, &[6; 3], Some(pointers)), "no pointers");
}

#[test]
fn the_budget_bounds_memories() {
    let bundle = Bundle::open(compact()).unwrap();
    let options = EngineOptions { memory_budget_bytes: 256 << 20, threads: 1, ..EngineOptions::default() };
    let engine = Engine::start(bundle, options).unwrap();
    let most = engine.max_memories();
    assert!(most >= engine.spec().memory.exemplars_per_slice, "{most}");
    let attend = |count: usize| {
        let inputs = Inputs::new(engine.spec(), 1, count);
        engine.attend(inputs.embed, inputs.memories, &vec![6; count], None)
    };
    attend(most).unwrap();
    let error = attend(most + 1).unwrap_err();
    assert!(matches!(error, Error::OverBudget { .. }), "{error}");
    assert!(error.to_string().contains(&format!("at most {most} memories fit")), "{error}");
}

/// The bundle that ships with its manifest changed.
fn changed(from: &str, to: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(compact()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "onnx") {
            std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let manifest = std::fs::read_to_string(compact().join("bundle.toml")).unwrap();
    let spec: BundleSpec = toml::from_str(&manifest).unwrap();
    let from = from.replace("{cls}", &spec.retrieval.embedding_dim.to_string());
    assert!(manifest.contains(&from), "{from}");
    std::fs::write(folder.path().join("bundle.toml"), manifest.replacen(&from, to, 1)).unwrap();
    folder
}

#[test]
fn manifests_that_cannot_be_right_are_refused() {
    for (from, to, said) in [
        ("format = 1", "format = 2", "format"),
        ("format = 1", "format = 1\nspeed = 3", "speed"),
        ("name = \"compact\"\n", "", "name"),
        ("name = \"compact\"", "name = \"../x\"", "name"),
        ("ct_window_hu = [-160.0, 240.0]", "ct_window_hu = [240.0, -160.0]", "input.ct_window_hu"),
        ("percentiles = [0.5, 99.5]", "percentiles = [0.5, 100.5]", "input.percentiles"),
        ("std = [1.0, 1.0, 1.0]", "std = [1.0, 0.0, 1.0]", "input.std"),
        ("mean = [0.0, 0.0, 0.0]", "mean = [nan, 0.0, 0.0]", "input.mean"),
        ("embedding_dim = {cls}", "embedding_dim = 0", "retrieval.embedding_dim"),
        ("mask_scale = 1.0", "mask_scale = inf", "memory.mask_scale"),
        ("conditioning_tpos = 6", "conditioning_tpos = -1", "memory.conditioning_tpos"),
        ("crop_max_extent = 0.6", "crop_max_extent = 1.5", "memory.crop_max_extent"),
        ("[pointers]\nused = false", "[pointers]\nused = true", "pointers.dim"),
        ("used = false\ndim = 0", "used = true\ndim = 8", "pointers.most"),
        ("used = false\ndim = 0", "used = true\ndim = 8\nmost = 16", "prompts.used"),
        ("[prompts]\nused = false", "[prompts]\nused = true", "graphs.mask_downsample"),
        ("mask_bias = 0.0", "mask_bias = 0.0\nabsent_logit = 3.0", "memory.absent_logit"),
        ("file = \"retrieval.onnx\"", "file = \"../retrieval.onnx\"", "graphs.retrieval"),
        (
            "file = \"retrieval.onnx\"",
            "file = \"retrieval.onnx\"\nexternal = [{ file = \"../w\", sha256 = \"00\" }]",
            "graphs.retrieval",
        ),
        ("sha256 = \"", "sha256 = \"x", "graphs.retrieval"),
    ] {
        let error = Bundle::open(changed(from, to).path()).unwrap_err();
        let right = matches!(error, Error::InvalidManifest { .. } | Error::ParseManifest { .. });
        assert!(right && error.to_string().contains(said), "{to}: {error}");
    }
}

#[test]
fn damaged_and_missing_graphs_are_refused() {
    let folder = changed("format = 1", "format = 1");
    let path = folder.path().join("mask_decoder.onnx");
    let whole = Bundle::open(folder.path()).unwrap();
    assert_eq!(whole.id(), Bundle::open(compact()).unwrap().id());
    assert!(whole.id().starts_with("compact@"), "{}", whole.id());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(Bundle::open(folder.path()).unwrap_err(), Error::VerifyGraph { .. }));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(Bundle::open(folder.path()).unwrap_err(), Error::ReadBundleFile { .. }));
}

#[test]
fn graphs_that_differ_from_the_manifest_are_refused() {
    for (from, to, said) in [
        ("embedding_dim = {cls}", "embedding_dim = 17", "\"cls\""),
        ("mask_tokens = 1", "mask_tokens = 4", "\"masks\""),
    ] {
        let folder = changed(from, to);
        let result = Engine::start(Bundle::open(folder.path()).unwrap(), EngineOptions::default());
        let error = result.err().unwrap();
        let right = matches!(error, Error::GraphSignature { .. }) && error.to_string().contains(said);
        assert!(right, "{to}: {error}");
    }
}

#[test]
fn the_engine_can_be_shared() {
    fn shared<T: Send + Sync + Clone>() {}
    shared::<Engine>();
}
