//! Pixels and geometry: decodes pixel data, applies modality and VOI transforms, assembles slices into
//! volumes and resamples them. Knows nothing of storage.
