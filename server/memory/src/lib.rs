//! The bank: exemplars, their retrieval vectors, the HNSW index over them and their memory features. Knows
//! nothing of HTTP or of how DICOM is encoded.
