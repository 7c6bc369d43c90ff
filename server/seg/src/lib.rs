//! DICOM Segmentation objects (PS3.3 A.51) to label masks on a volume's grid and back, with their coded
//! concepts. Knows nothing of storage.
