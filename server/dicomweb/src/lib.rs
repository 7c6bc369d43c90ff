//! DICOMweb (PS3.18): one module a transaction, `routes` over `service`. Knows nothing of models or sled.
