//! ONNX Runtime's execution providers: which a device asks for, whether the library has them, what they miss.

use std::path::Path;

use ort::ep::{self, ArenaExtendStrategy, ExecutionProvider, ExecutionProviderDispatch};
use ort::session::Session;
use snafu::ensure;

use crate::error::UseDeviceSnafu;
use crate::runtime::Runtime;
use crate::{BundleSpec, Device, Result, runtime};

/// Libraries of CUDA 12 and cuDNN 9 that ONNX Runtime's CUDA provider is linked with.
const CUDA_LIBRARIES: [&str; 6] = [
    "libcudart.so.12",
    "libcublasLt.so.12",
    "libcublas.so.12",
    "libcurand.so.10",
    "libcufft.so.11",
    "libcudnn.so.9",
];
/// The library of TensorRT 10 that its provider needs beside those.
const TENSORRT_LIBRARY: &str = "libnvinfer.so.10";

/// The providers of a device, best first. The processor, which every session has, is not named.
pub(crate) fn providers(device: Device, spec: &BundleSpec) -> Vec<ExecutionProviderDispatch> {
    let providers = match device {
        Device::Auto | Device::Cpu => Vec::new(),
        Device::Cuda(number) => vec![cuda(number)],
        Device::TensorRt(number) => vec![tensorrt(number, spec), cuda(number)],
        Device::CoreMl => vec![ep::CoreML::default().build()],
        Device::DirectMl(number) => vec![ep::DirectML::default().with_device_id(signed(number)).build()],
    };
    providers.into_iter().map(ExecutionProviderDispatch::error_on_failure).collect()
}

fn cuda(number: u32) -> ExecutionProviderDispatch {
    ep::CUDA::default()
        .with_device_id(signed(number))
        // Grows by what a call asks for, not to the next power of two: the budget is what a call takes.
        .with_arena_extend_strategy(ArenaExtendStrategy::SameAsRequested)
        // Shapes change from call to call; the exhaustive search would be made anew for each of them.
        .with_conv_algorithm_search(ep::cuda::ConvAlgorithmSearch::Heuristic)
        // Full precision, as on the processor: a bundle in fp16 is the way to be faster.
        .with_tf32(false)
        .build()
}

fn tensorrt(number: u32, spec: &BundleSpec) -> ExecutionProviderDispatch {
    let provider = ep::TensorRT::default().with_device_id(signed(number)).with_fp16(spec.precision == "fp16");
    match engine_cache(spec) {
        Some(folder) => provider
            .with_engine_cache(true)
            .with_engine_cache_path(&folder)
            .with_timing_cache(true)
            .with_timing_cache_path(&folder)
            .build(),
        None => provider.build(),
    }
}

/// Where TensorRT's engines are kept, apart for each bundle, since building one takes minutes. `None` where there is no
/// such folder: then they are built at each start.
fn engine_cache(spec: &BundleSpec) -> Option<String> {
    let folder = runtime::user_cache()?.join("tensorrt").join(runtime::VERSION).join(spec.id());
    std::fs::create_dir_all(&folder)
        .inspect_err(|error| {
            tracing::warn!(folder = %folder.display(), %error, "TensorRT's engines cannot be kept");
        })
        .ok()?;
    folder.to_str().map(str::to_owned)
}

fn signed(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Whether the loaded library was built with a device's provider.
pub(crate) fn is_built_in(device: Device) -> bool {
    let built_in = match device {
        Device::Auto | Device::Cpu => Ok(true),
        Device::Cuda(_) => ep::CUDA::is_available(),
        Device::TensorRt(_) => ep::TensorRT::is_available(),
        Device::CoreMl => ep::CoreML::is_available(),
        Device::DirectMl(_) => ep::DirectML::is_available(),
    };
    built_in.unwrap_or(false)
}

/// Says what a device misses, if the library has no provider for it or the provider cannot be used: a library that it
/// is linked with, a driver, an NVIDIA GPU of that number. Other hardware shows only when a graph is loaded.
pub(crate) fn require(runtime: &Runtime, device: Device, spec: &BundleSpec) -> Result<()> {
    let reason = || not_built_in(device, &runtime.library);
    ensure!(is_built_in(device), UseDeviceSnafu { device, reason: reason() });
    let registered = Session::builder(&runtime.environment)
        .and_then(|builder| Ok(builder.with_execution_providers(providers(device, spec))?));
    let Err(error) = registered else { return Ok(()) };
    let reason = match missing_libraries(device).join(", ") {
        none if none.is_empty() => error.message().trim().to_owned(),
        missing => {
            format!("{}; the system's loader does not find {missing}", error.message().trim())
        }
    };
    UseDeviceSnafu { device, reason }.fail()
}

fn not_built_in(device: Device, library: &Path) -> String {
    let library = library.display();
    match device.is_nvidia() {
        true => format!(
            "the ONNX Runtime in {library} has no provider for it; `{} --gpu` fetches one that has",
            runtime::FETCH_COMMAND
        ),
        false => format!("the ONNX Runtime in {library} has no provider for it"),
    }
}

/// Libraries that a device's provider is linked with and the loader cannot find.
fn missing_libraries(device: Device) -> Vec<&'static str> {
    let cuda = if device.is_nvidia() { CUDA_LIBRARIES.as_slice() } else { &[] };
    let tensorrt = matches!(device, Device::TensorRt(_)).then_some(TENSORRT_LIBRARY);
    let needed = cuda.iter().copied().chain(tensorrt);
    needed.filter(|name| ort::util::preload_dylib(*name).is_err()).collect()
}
