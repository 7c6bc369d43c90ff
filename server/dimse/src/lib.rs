//! The DIMSE face of the server over `dicom-ul`. Knows nothing of HTTP.
