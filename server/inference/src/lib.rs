//! Bundles and the ONNX Runtime sessions that run them, one owner thread a device. Knows nothing of slices
//! or organs: tensors in, tensors out.
