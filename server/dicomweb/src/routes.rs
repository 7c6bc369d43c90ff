//! The table of resources: PS3.18 Table 10.1-1 (studies service).

use actix_web::guard;
use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Resource, Route};

use crate::state::DicomWeb;
use crate::{delete, qido, stow, wado};

/// Mounts the DICOMweb resources; call it on the scope they belong under, e.g. `/dicomweb`.
///
/// ```no_run
/// # fn example(archive: engram_archive::Archive) {
/// use actix_web::{App, web};
/// use engram_dicomweb::{DicomWeb, DicomWebOptions, configure};
///
/// let state = DicomWeb::new(archive, DicomWebOptions::default());
/// let app = App::new().service(web::scope("/dicomweb").configure(|scope| configure(scope, state)));
/// # }
/// ```
pub fn configure(services: &mut ServiceConfig, state: DicomWeb) {
    const STUDY: &str = "/studies/{study}";
    const SERIES: &str = "/studies/{study}/series/{series}";
    const INSTANCE: &str = "/studies/{study}/series/{series}/instances/{instance}";
    let below = |path: &str, rest: &str| format!("{path}/{rest}");

    services
        .app_data(web::Data::new(state.clone()))
        .service(
            resource("/studies", "GET, HEAD, POST, OPTIONS")
                .route(get().to(qido::routes::studies))
                .route(web::post().to(stow::routes::store)),
        )
        // Before the resources whose UID `count` would be.
        .service(read_only("/studies/count").route(get().to(qido::routes::study_count)))
        .service(read_only("/series/count").route(get().to(qido::routes::series_count)))
        .service(read_only("/instances/count").route(get().to(qido::routes::instance_count)))
        .service(read_only(&below(STUDY, "series/count")).route(get().to(qido::routes::series_count)))
        .service(read_only(&below(STUDY, "instances/count")).route(get().to(qido::routes::instance_count)))
        .service(read_only(&below(SERIES, "instances/count")).route(get().to(qido::routes::instance_count)))
        .service(
            resource(STUDY, "GET, HEAD, POST, DELETE, OPTIONS")
                .route(get().to(wado::instances::routes::instances))
                .route(web::post().to(stow::routes::store))
                .route(web::delete().to(delete::routes::delete)),
        )
        .service(
            resource(SERIES, "GET, HEAD, DELETE, OPTIONS")
                .route(get().to(wado::instances::routes::instances))
                .route(web::delete().to(delete::routes::delete)),
        )
        .service(
            resource(INSTANCE, "GET, HEAD, DELETE, OPTIONS")
                .route(get().to(wado::instances::routes::instances))
                .route(web::delete().to(delete::routes::delete)),
        )
        .service(read_only("/series").route(get().to(qido::routes::series)))
        .service(read_only("/instances").route(get().to(qido::routes::instances)))
        .service(read_only(&below(STUDY, "series")).route(get().to(qido::routes::series)))
        .service(read_only(&below(STUDY, "instances")).route(get().to(qido::routes::instances)))
        .service(read_only(&below(SERIES, "instances")).route(get().to(qido::routes::instances)))
        .service(read_only(&below(STUDY, "metadata")).route(get().to(wado::metadata::routes::metadata)))
        .service(read_only(&below(SERIES, "metadata")).route(get().to(wado::metadata::routes::metadata)))
        .service(read_only(&below(INSTANCE, "metadata")).route(get().to(wado::metadata::routes::metadata)))
        .service(read_only(&below(INSTANCE, "frames/{frames}")).route(get().to(wado::frames::routes::frames)))
        .service(
            read_only(&below(INSTANCE, "bulkdata/{path:.*}"))
                .route(get().to(wado::bulkdata::routes::bulkdata)),
        );
    for level in [STUDY, SERIES, INSTANCE] {
        let pixeldata = get().to(wado::pixeldata::routes::pixeldata);
        services.service(read_only(&below(level, "pixeldata")).route(pixeldata));
    }
    for level in [STUDY, SERIES, INSTANCE, &below(INSTANCE, "frames/{frames}")] {
        let rendered = get().to(wado::rendered::routes::rendered);
        let thumbnail = get().to(wado::thumbnail::routes::thumbnail);
        services
            .service(read_only(&below(level, "rendered")).route(rendered))
            .service(read_only(&below(level, "thumbnail")).route(thumbnail));
    }
    configure_wado_uri(services, state);
}

/// Mounts WADO-URI at `/wado`: [`configure`] does so below its scope; the server's root is where other archives have it
/// and old clients look for it.
pub fn configure_wado_uri(services: &mut ServiceConfig, state: DicomWeb) {
    let retrieve = get().to(wado::uri::routes::retrieve);
    services.service(read_only("/wado").app_data(web::Data::new(state)).route(retrieve));
}

/// A resource that answers OPTIONS, and other methods with 405 and what is allowed.
fn resource(path: &str, allow: &'static str) -> Resource {
    let options = move || async move { HttpResponse::NoContent().insert_header(("Allow", allow)).finish() };
    let other =
        move || async move { HttpResponse::MethodNotAllowed().insert_header(("Allow", allow)).finish() };
    web::resource(path)
        .route(web::method(Method::OPTIONS).to(options))
        .default_service(web::route().to(other))
}

fn read_only(path: &str) -> Resource {
    resource(path, "GET, HEAD, OPTIONS")
}

/// GET, and HEAD, whose body the HTTP layer leaves out.
fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}
