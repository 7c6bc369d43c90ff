//! The table of `/api/v1` and `/metrics`: what answers each request, and what the OpenAPI document says of it. The role
//! that one needs stands in the table of `guard`, and comes into the document from there.

use actix_web::http::StatusCode;
use engram_dicomweb::Resource;
use engram_dicomweb::description::{
    Describe, bodiless, json, json_body, json_list, operation, path_parameter, schema_ref, schemas, sent,
    text,
};
use engram_dicomweb::media::Offer;
use engram_routing::Rule;
use engram_workflow::{
    BundleView, DryRun, DryRunQuery, ExemplarPage, Item, LabelInfo, Provenance, RuleView,
    SegmentationRequest, StoredSegmentation, Suggestions,
};
use utoipa::IntoParams;
use utoipa::openapi::SchemaFormat;
use utoipa::openapi::path::OperationBuilder;
use utoipa::openapi::schema::{AnyOfBuilder, Components, ComponentsBuilder};

use super::deliveries::{self, DeliveryView};
use super::health::{Alive, Health};
use super::job_view::JobView;
use super::{
    events, exemplars, health, jobs, metrics, models, news, nodes, openapi, renditions, rules, segmentations,
    tokens,
};
use crate::guard::Token;
use crate::nodes::Objects;

const SEGMENTATION: &str = "Segmentation";
const BANK: &str = "Bank";
const MODELS: &str = "Models";
const ROUTING: &str = "Routing";
const NODES: &str = "Nodes";
const TOKENS: &str = "Tokens";
const SERVER: &str = "Server";

const DICOM: &str = "application/dicom";

/// What lies at the server's root.
pub fn at_root() -> [Resource; 1] {
    let text = [Offer::single("text/plain")];
    let about = operation(SERVER, "getMetrics", "Counters and gauges for Prometheus.")
        .response("200", sent("The text format, version 0.0.4.", &text, None));
    [Resource::at("/metrics").get(metrics::get, about)]
}

/// What lies below `/api/v1`.
pub fn of_api() -> Vec<Resource> {
    let mut resources = Vec::from(of_server());
    resources.extend(of_bank());
    resources.extend(of_models());
    resources.extend(of_segmentation());
    resources.extend(of_renditions());
    resources.extend(of_jobs());
    resources.extend(of_routing());
    resources.extend(of_nodes());
    resources.extend(of_tokens());
    resources
}

fn of_server() -> [Resource; 2] {
    let forms = AnyOfBuilder::new().item(schema_ref::<Health>()).item(schema_ref::<Alive>());
    let healthy = sent("The server is ready.", &[Offer::single("application/json")], Some(forms.into()));
    let health =
        operation(SERVER, "getHealth", "Whether the server is ready; to who has a token, how it stands.")
            .response("200", healthy);
    let document = operation(SERVER, "getOpenApi", "This document.")
        .response("200", sent("This document.", &[Offer::single("application/json")], None));
    [
        Resource::at("/health").get(health::get, health),
        Resource::at("/openapi.json").get(openapi::get, document),
    ]
}

fn of_bank() -> [Resource; 3] {
    let labels = operation(BANK, "listLabels", "Every label that has exemplars.")
        .response("200", json_list::<LabelInfo>("The labels."));
    let list =
        asks::<exemplars::ListQuery>(operation(BANK, "listExemplars", "The exemplars, a page at a time."))
            .response("200", json::<ExemplarPage>("A page."))
            .failures(&[StatusCode::NOT_FOUND]);
    let approve = takes_json(operation(BANK, "approveSegmentation", "A person vouches for a SEG."))
        .request_body(Some(json_body::<exemplars::Approval>()))
        .response("202", bodiless("It counts from now on."))
        .failures(&[StatusCode::NOT_FOUND, StatusCode::UNPROCESSABLE_ENTITY]);
    let withdraw = asks::<exemplars::Withdrawal>(operation(
        BANK,
        "withdrawSegmentation",
        "Takes a SEG, or one of its labels, out of the bank.",
    ))
    .response("202", bodiless("Its exemplars go; the SEG stays stored."))
    .failures(&[StatusCode::NOT_FOUND, StatusCode::UNPROCESSABLE_ENTITY]);
    let suggest = asks::<exemplars::SuggestionsQuery>(operation(
        BANK,
        "suggestSeries",
        "Which stored series an annotation would help the bank most with.",
    ))
    .response("200", json::<Suggestions>("The series, and how many there are to look at."));
    [
        Resource::at("/labels").get(exemplars::labels, labels),
        Resource::at("/exemplars")
            .get(exemplars::list, list)
            .post(exemplars::approve, approve)
            .delete(exemplars::withdraw, withdraw),
        Resource::at("/exemplars/suggestions").get(exemplars::suggestions, suggest),
    ]
}

fn of_models() -> [Resource; 3] {
    let list = operation(
        MODELS,
        "listBundles",
        "The bundles that are served or may be chosen, the one in use first.",
    )
    .response("200", json_list::<BundleView>("The bundles."));
    let take = takes_json(operation(MODELS, "useBundle", "Takes a bundle into use."))
        .request_body(Some(json_body::<models::Use>()))
        .response("200", json_list::<BundleView>("It is in use already."))
        .response(
            "202",
            json::<JobView>("The job that encodes the exemplars for it, and then takes it into use."),
        )
        .failures(&[StatusCode::NOT_FOUND, StatusCode::CONFLICT, StatusCode::UNPROCESSABLE_ENTITY]);
    let leave = operation(MODELS, "dropBundle", "Serves a bundle no longer, and removes its exemplars.")
        .response("204", bodiless("It is no longer served."))
        .failures(&[StatusCode::NOT_FOUND, StatusCode::CONFLICT]);
    [
        Resource::at("/models").get(models::list, list),
        Resource::at("/models/use").post(models::use_bundle, take),
        Resource::at("/models/{bundle}").delete(models::drop_bundle, leave),
    ]
}

fn of_segmentation() -> [Resource; 2] {
    let list = operation(SEGMENTATION, "listSegmentations", "The latest segmentation jobs.")
        .response("200", json_list::<JobView>("The jobs, the newest first."));
    let forms = [Offer::single("application/json"), Offer::single(DICOM)];
    let finished = sent(
        "With `wait`: the job that ended well, or for `Accept: application/dicom` the SEG.",
        &forms,
        Some(schema_ref::<JobView>()),
    );
    let request = takes_json(asks::<segmentations::PostQuery>(operation(
        SEGMENTATION,
        "requestSegmentation",
        "Asks for a segmentation of a series.",
    )))
    .request_body(Some(json_body::<SegmentationRequest>()))
    .response("200", finished)
    .response("202", json::<JobView>("The job."))
    .failures(&[
        StatusCode::NOT_FOUND,
        StatusCode::CONFLICT,
        StatusCode::PAYLOAD_TOO_LARGE,
        StatusCode::UNPROCESSABLE_ENTITY,
    ]);
    let get =
        operation(SEGMENTATION, "getSegmentation", "What a stored SEG shows, and what the bank makes of it.")
            .response(
                "200",
                json::<StoredSegmentation>("Segments, frames and their slices, and its part in the bank."),
            )
            .failures(&[StatusCode::NOT_FOUND, StatusCode::UNPROCESSABLE_ENTITY]);
    [
        Resource::at("/segmentations").get(segmentations::list, list).post(segmentations::post, request),
        Resource::at("/segmentations/{segmentation}").get(segmentations::get, get),
    ]
}

fn of_renditions() -> [Resource; 3] {
    let rendition = |id: &str, summary: &str| {
        operation(SEGMENTATION, id, summary).failures(&[
            StatusCode::NOT_FOUND,
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::UNPROCESSABLE_ENTITY,
        ])
    };
    let binary = rendition("getBinarySegmentation", "A stored SEG as BINARY.").response(
        "200",
        sent("The SEG itself, or the one made of the LABELMAP that it is.", &[Offer::single(DICOM)], None),
    );
    let report = asks::<renditions::ReportQuery>(rendition(
        "getMeasurementReport",
        "A Measurement Report of a stored SEG.",
    ))
    .response("200", sent("A structured report, TID 1500.", &[Offer::single(DICOM)], None));
    let pictures =
        rendition("getSecondaryCapture", "Pictures of a stored SEG's series, with the segments drawn in.")
            .response("200", sent("A part for each slice.", &[Offer::multipart(DICOM)], None));
    [
        Resource::at("/segmentations/{segmentation}/binary").get(renditions::binary, binary),
        Resource::at("/segmentations/{segmentation}/report").get(renditions::report, report),
        Resource::at("/segmentations/{segmentation}/secondary-capture")
            .get(renditions::secondary_capture, pictures),
    ]
}

fn of_jobs() -> [Resource; 5] {
    let list = asks::<jobs::ListQuery>(operation(SEGMENTATION, "listJobs", "The jobs, the newest first."))
        .response("200", json_list::<JobView>("The jobs."));
    let get = of_job("getJob", "A job.").response("200", json::<JobView>("How it stands."));
    let cancel = of_job("cancelJob", "Cancels a job.")
        .response("202", bodiless("It ends soon."))
        .failures(&[StatusCode::CONFLICT]);
    let stream = [Offer::single("text/event-stream")];
    let events = of_job("watchJob", "A job's events, until it ends.").response(
        "200",
        sent(
            "Server-Sent Events `state`, `stage` and `progress`, each with the job as its data.",
            &stream,
            None,
        ),
    );
    let result = of_job("getResult", "The SEG, stored or preview.")
        .response("200", sent("The SEG.", &[Offer::single(DICOM)], None));
    let provenance = of_job("getProvenance", "Which exemplars led to each slice's mask.")
        .response("200", json_list::<Provenance>("An item for each slice and label."));
    [
        Resource::at("/jobs").get(jobs::list, list),
        Resource::at("/jobs/{id}").get(jobs::get, get).delete(jobs::cancel, cancel),
        Resource::at("/jobs/{id}/events").get(events::get, events),
        Resource::at("/jobs/{id}/result").get(jobs::result, result),
        Resource::at("/jobs/{id}/provenance").get(jobs::provenance, provenance),
    ]
}

fn of_routing() -> [Resource; 7] {
    let list = operation(ROUTING, "listRules", "The rules in force, in the order in which they count.")
        .response("200", json_list::<RuleView>("The rules."));
    let get = operation(ROUTING, "getRule", "A rule.")
        .response("200", json::<RuleView>("The rule."))
        .failures(&[StatusCode::NOT_FOUND]);
    let put = takes_json(operation(ROUTING, "putRule", "Takes a rule into force."))
        .request_body(Some(json_body::<Rule>()))
        .response("204", bodiless("It is in force, in the place of one of its name."))
        .failures(&[StatusCode::CONFLICT, StatusCode::UNPROCESSABLE_ENTITY]);
    let remove = operation(ROUTING, "removeRule", "Takes a rule out of force.")
        .response("204", bodiless("It is no more."))
        .failures(&[StatusCode::NOT_FOUND, StatusCode::CONFLICT]);
    let dry_run = takes_json(operation(
        ROUTING,
        "tryRules",
        "What rules would do to the studies that arrived lately. Does nothing.",
    ))
    .request_body(Some(json_body::<DryRunQuery>()))
    .response("200", json::<DryRun>("What they would do."))
    .failures(&[StatusCode::UNPROCESSABLE_ENTITY]);
    let deliveries =
        asks::<deliveries::ListQuery>(operation(ROUTING, "listDeliveries", "What leaves, the newest first."))
            .response("200", json_list::<DeliveryView>("The deliveries."));
    let of_delivery = |id, summary| {
        operation(ROUTING, id, summary).failures(&[StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND])
    };
    let delivery =
        of_delivery("getDelivery", "A delivery.").response("200", json::<DeliveryView>("How it stands."));
    let discard =
        of_delivery("discardDelivery", "Has a delivery not sent, or forgets one that was given up.")
            .response("204", bodiless("It is no more."));
    let resend = of_delivery("resendDelivery", "Tries a delivery now, also where it was given up.")
        .response("202", json::<DeliveryView>("How it stands."));
    let stream = [Offer::single("text/event-stream")];
    let events = operation(ROUTING, "watchHouse", "What happens in the house.").response(
        "200",
        sent(
            "Server-Sent Events `study_complete`, `segmentation_ended` and `delivery_ended`, each with an item of news as its data.",
            &stream,
            Some(schema_ref::<Item>()),
        ),
    )
    .failures(&[StatusCode::SERVICE_UNAVAILABLE]);
    [
        Resource::at("/rules").get(rules::list, list),
        // Before the next, which would take it for a rule's name.
        Resource::at("/rules/dry-run").post(rules::dry_run, dry_run),
        Resource::at("/rules/{rule}").get(rules::get, get).put(rules::put, put).delete(rules::remove, remove),
        Resource::at("/deliveries").get(deliveries::list, deliveries),
        Resource::at("/deliveries/{delivery}")
            .get(deliveries::get, delivery)
            .delete(deliveries::discard, discard),
        Resource::at("/deliveries/{delivery}/resend").post(deliveries::resend, resend),
        Resource::at("/events").get(news::get, events),
    ]
}

fn of_nodes() -> [Resource; 5] {
    let list = operation(NODES, "listNodes", "The nodes that are configured.")
        .response("200", json_list::<nodes::NodeView>("The nodes."));
    let echo = of_node("echoNode", "Asks a node whether it is there (C-ECHO, or a search for one study).")
        .response("200", json::<nodes::Echo>("It is."))
        .failures(&[StatusCode::BAD_GATEWAY, StatusCode::GATEWAY_TIMEOUT]);
    let matches = sent(
        "The matches in DICOM JSON. `Warning: 299` where there are more.",
        &[Offer::single("application/dicom+json")],
        None,
    );
    let query = takes_json(of_node("queryNode", "Asks a node what it has (C-FIND, QIDO-RS)."))
        .request_body(Some(json_body::<nodes::Query>()))
        .response("200", matches)
        .failures(&[StatusCode::BAD_GATEWAY, StatusCode::GATEWAY_TIMEOUT]);
    let retrieve = takes_json(of_node(
        "retrieveFromNode",
        "Brings objects from a node (C-MOVE to this server, WADO-RS).",
    ))
    .request_body(Some(json_body::<Objects>()))
    .response("202", json::<JobView>("The job."))
    .failures(&[StatusCode::CONFLICT]);
    let store = takes_json(of_node("storeToNode", "Sends objects to a node (C-STORE, STOW-RS)."))
        .request_body(Some(json_body::<Objects>()))
        .response("202", json::<JobView>("The job."));
    [
        Resource::at("/nodes").get(nodes::list, list),
        Resource::at("/nodes/{node}/echo").post(nodes::echo, echo),
        Resource::at("/nodes/{node}/query").post(nodes::query, query),
        Resource::at("/nodes/{node}/retrieve").post(nodes::retrieve, retrieve),
        Resource::at("/nodes/{node}/store").post(nodes::store, store),
    ]
}

fn of_tokens() -> [Resource; 2] {
    let list = operation(TOKENS, "listTokens", "The tokens that are not revoked.")
        .response("200", json_list::<Token>("What may be told of them."));
    let add = takes_json(operation(TOKENS, "addToken", "Makes a token."))
        .request_body(Some(json_body::<tokens::New>()))
        .response("201", json::<tokens::Made>("The token, which is shown here and never again."))
        .failures(&[StatusCode::CONFLICT]);
    let revoke = operation(TOKENS, "revokeToken", "Ends a token, for ever.")
        .response("204", bodiless("It opens nothing any more."))
        .failures(&[StatusCode::NOT_FOUND]);
    [
        Resource::at("/tokens").get(tokens::list, list).post(tokens::add, add),
        Resource::at("/tokens/{name}").delete(tokens::revoke, revoke),
    ]
}

/// It takes the parameters of a query string.
fn asks<Q: IntoParams>(operation: OperationBuilder) -> OperationBuilder {
    operation.parameters(Some(Q::into_params(|| None))).failures(&[StatusCode::BAD_REQUEST])
}

/// It takes a body of JSON, which may be wrong, or late.
fn takes_json(operation: OperationBuilder) -> OperationBuilder {
    operation.failures(&[StatusCode::BAD_REQUEST, StatusCode::REQUEST_TIMEOUT])
}

fn of_job(id: &str, summary: &str) -> OperationBuilder {
    operation(SEGMENTATION, id, summary).failures(&[StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND])
}

fn of_node(id: &str, summary: &str) -> OperationBuilder {
    operation(NODES, id, summary).failures(&[StatusCode::NOT_FOUND])
}

/// What operations refer to.
pub fn components() -> Components {
    let uuid = || text().format(Some(SchemaFormat::Custom("uuid".to_owned())));
    let schemas = [
        schemas::<Alive>(),
        schemas::<BundleView>(),
        schemas::<ExemplarPage>(),
        schemas::<Health>(),
        schemas::<JobView>(),
        schemas::<LabelInfo>(),
        schemas::<Provenance>(),
        schemas::<DeliveryView>(),
        schemas::<DryRun>(),
        schemas::<DryRunQuery>(),
        schemas::<Item>(),
        schemas::<Rule>(),
        schemas::<RuleView>(),
        schemas::<SegmentationRequest>(),
        schemas::<StoredSegmentation>(),
        schemas::<Suggestions>(),
        schemas::<exemplars::Approval>(),
        schemas::<models::Use>(),
        schemas::<nodes::Echo>(),
        schemas::<nodes::NodeView>(),
        schemas::<nodes::Query>(),
        schemas::<Objects>(),
        schemas::<tokens::Made>(),
        schemas::<tokens::New>(),
    ];
    ComponentsBuilder::new()
        .schemas_from_iter(schemas.into_iter().flatten())
        .parameter("id", path_parameter("id", "The job's id.", uuid()))
        .parameter("bundle", path_parameter("bundle", "Id, folder's name, `name@version` or name.", text()))
        .parameter("segmentation", path_parameter("segmentation", "SOPInstanceUID of the SEG.", text()))
        .parameter("rule", path_parameter("rule", "The rule's name.", text()))
        .parameter("delivery", path_parameter("delivery", "The delivery's id.", uuid()))
        .parameter("node", path_parameter("node", "The node's name.", text()))
        .parameter("name", path_parameter("name", "The token's name.", text()))
        .build()
}
