//! The table of resources: PS3.18 Table 10.1-1 (studies service) and Table 11.2-1 (worklist service), what answers each, and what is said of it.

use actix_web::web::{self, ServiceConfig};

use crate::resource::{Resource, mount};
use crate::state::DicomWeb;
use crate::{capabilities, delete, qido, stow, ups, wado};

const STUDY: &str = "/studies/{study}";
const SERIES: &str = "/studies/{study}/series/{series}";
const INSTANCE: &str = "/studies/{study}/series/{series}/instances/{instance}";

/// Mounts the DICOMweb resources; call it on the scope they belong under, e.g. `/dicomweb`.
///
/// ```no_run
/// # fn example(archive: engram_archive::Archive, worklist: engram_worklist::Worklist) {
/// use actix_web::{App, web};
/// use engram_dicomweb::{DicomWeb, DicomWebOptions, configure};
///
/// let state = DicomWeb::new(archive, worklist, DicomWebOptions::default());
/// let app = App::new().service(web::scope("/dicomweb").configure(|scope| configure(scope, state)));
/// # }
/// ```
pub fn configure(services: &mut ServiceConfig, state: DicomWeb) {
    services.app_data(web::Data::new(state.clone()));
    mount(resources(), services);
    configure_wado_uri(services, state);
}

/// Mounts WADO-URI at `/wado`: [`configure`] does so below its scope; the server's root is where other archives have it
/// and old clients look for it.
pub fn configure_wado_uri(services: &mut ServiceConfig, state: DicomWeb) {
    services.service(wado_uri("RetrieveByUri").service().app_data(web::Data::new(state)));
}

/// The services' root.
pub fn root() -> Resource {
    use capabilities::{description as about, routes};
    Resource::root()
        .get(routes::conformance, about::conformance("RetrieveConformance"))
        .options(routes::retrieve, about::retrieve("RetrieveCapabilities"))
}

/// WADO-URI, by a name for its one operation.
pub fn wado_uri(id: &str) -> Resource {
    Resource::at("/wado").get(wado::uri::routes::retrieve, wado::uri::description::retrieve(id))
}

/// Everything but WADO-URI. Of those that fit a path the first answers.
pub fn resources() -> Vec<Resource> {
    let mut resources = vec![root()];
    // Before the resources whose UID `count` would be.
    resources.extend(counts());
    resources.extend([
        Resource::at("/studies")
            .get(qido::routes::studies, qido::description::search("SearchForStudies", "Studies."))
            .post(stow::routes::store, stow::description::store("StoreInstances", "Stores instances.")),
        study(),
        series(),
        instance(),
    ]);
    resources.extend(searches());
    resources.extend(metadata());
    resources.extend(pixels());
    resources.extend(pictures());
    resources.extend(ups::resources());
    resources
}

fn counts() -> [Resource; 6] {
    use qido::description::count;
    use qido::routes::{instance_count, series_count, study_count};
    [
        Resource::at("/studies/count").get(study_count, count("CountStudies", "How many studies there are.")),
        Resource::at("/series/count").get(series_count, count("CountSeries", "How many series there are.")),
        Resource::at("/instances/count")
            .get(instance_count, count("CountInstances", "How many instances there are.")),
        Resource::at(below(STUDY, "series/count"))
            .get(series_count, count("CountSeriesOfStudy", "How many series a study has.")),
        Resource::at(below(STUDY, "instances/count"))
            .get(instance_count, count("CountInstancesOfStudy", "How many instances a study has.")),
        Resource::at(below(SERIES, "instances/count"))
            .get(instance_count, count("CountInstancesOfSeries", "How many instances a series has.")),
    ]
}

fn study() -> Resource {
    Resource::at(STUDY)
        .get(
            wado::instances::routes::instances,
            wado::description::instances("RetrieveStudy".into(), "The instances of a study."),
        )
        .post(
            stow::routes::store,
            stow::description::store("StoreInstancesOfStudy", "Stores instances of a study."),
        )
        .delete(delete::routes::delete, delete::description::delete("DeleteStudy", "Deletes a study."))
}

fn series() -> Resource {
    Resource::at(SERIES)
        .get(
            wado::instances::routes::instances,
            wado::description::instances("RetrieveSeries".into(), "The instances of a series."),
        )
        .delete(delete::routes::delete, delete::description::delete("DeleteSeries", "Deletes a series."))
}

fn instance() -> Resource {
    Resource::at(INSTANCE)
        .get(
            wado::instances::routes::instances,
            wado::description::instances("RetrieveInstance".into(), "An instance."),
        )
        .delete(delete::routes::delete, delete::description::delete("DeleteInstance", "Deletes an instance."))
}

fn searches() -> [Resource; 5] {
    use qido::description::search;
    use qido::routes::{instances, series};
    [
        Resource::at("/series").get(series, search("SearchForSeries", "Series.")),
        Resource::at("/instances").get(instances, search("SearchForInstances", "Instances.")),
        Resource::at(below(STUDY, "series"))
            .get(series, search("SearchForSeriesOfStudy", "Series of a study.")),
        Resource::at(below(STUDY, "instances"))
            .get(instances, search("SearchForInstancesOfStudy", "Instances of a study.")),
        Resource::at(below(SERIES, "instances"))
            .get(instances, search("SearchForInstancesOfSeries", "Instances of a series.")),
    ]
}

/// The levels of the hierarchy: name, and path.
const LEVELS: [(&str, &str); 3] = [("Study", STUDY), ("Series", SERIES), ("Instance", INSTANCE)];

fn metadata() -> impl Iterator<Item = Resource> {
    LEVELS.into_iter().map(|(level, path)| {
        let about =
            wado::description::metadata(format!("Retrieve{level}Metadata"), "The attributes of instances.");
        Resource::at(below(path, "metadata")).get(wado::metadata::routes::metadata, about)
    })
}

fn pixels() -> impl Iterator<Item = Resource> {
    let frames = Resource::at(below(INSTANCE, "frames/{frames}")).get(
        wado::frames::routes::frames,
        wado::description::frames("RetrieveFrames", "Frames of an instance."),
    );
    let bulk_data = Resource::at(below(INSTANCE, "bulkdata/{path:.*}")).get(
        wado::bulkdata::routes::bulkdata,
        wado::description::bulk_data("RetrieveBulkData", "A value that metadata names by its BulkDataURI."),
    );
    let pixel_data = LEVELS.into_iter().map(|(level, path)| {
        let about =
            wado::description::pixel_data(format!("Retrieve{level}PixelData"), "The pixels of instances.");
        Resource::at(below(path, "pixeldata")).get(wado::pixeldata::routes::pixeldata, about)
    });
    let every_value = LEVELS.into_iter().map(|(level, path)| {
        let about = wado::description::every_value(format!("Retrieve{level}BulkData"));
        Resource::at(below(path, "bulkdata")).get(wado::bulkdata::routes::every, about)
    });
    [frames, bulk_data].into_iter().chain(pixel_data).chain(every_value)
}

fn pictures() -> impl Iterator<Item = Resource> {
    let frames = ("Frames", below(INSTANCE, "frames/{frames}"));
    let levels = LEVELS.into_iter().map(|(level, path)| (level, path.to_owned())).chain([frames]);
    levels.flat_map(|(level, path)| {
        let rendered = wado::description::rendered(format!("RetrieveRendered{level}"), path == INSTANCE);
        let thumbnail =
            wado::description::thumbnail(format!("Retrieve{level}Thumbnail"), "One small picture.");
        [
            Resource::at(below(&path, "rendered")).get(wado::rendered::routes::rendered, rendered),
            Resource::at(below(&path, "thumbnail")).get(wado::thumbnail::routes::thumbnail, thumbnail),
        ]
    })
}

fn below(path: &str, rest: &str) -> String {
    format!("{path}/{rest}")
}
