//! Deletion of studies, series and instances: no transaction of PS3.18, but what Orthanc, dcm4chee and their
//! clients know as `DELETE` on the resource.

pub mod description;
pub mod routes;
mod service;
