//! Studies, series and instances: object files, a sled catalogue, matching, deletion and rebuild. Knows
//! nothing of models or HTTP.
