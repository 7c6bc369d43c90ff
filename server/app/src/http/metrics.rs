//! `GET /metrics`: the Prometheus text format, version 0.0.4.

use std::fmt::Write;
use std::sync::Arc;

use actix_web::{HttpResponse, Responder, web};
use engram_inference::{DeviceMetrics, GraphMetrics};
use engram_workflow::ServedBundle;

use super::State;

/// Counters and gauges of every room.
pub async fn get(state: web::Data<State>) -> impl Responder {
    let mut text = Text(String::with_capacity(4096));
    let status = state.workflow.status();
    text.family("engram_jobs", "gauge", "Jobs by state.");
    text.sample("engram_jobs", "state=\"waiting\"", status.jobs_waiting as f64);
    text.sample("engram_jobs", "state=\"running\"", status.jobs_running as f64);
    let (waiting, running, given_up) = state.workflow.outbox_depth();
    text.family("engram_deliveries", "gauge", "Deliveries and calls of webhooks by state.");
    text.sample("engram_deliveries", "state=\"waiting\"", waiting as f64);
    text.sample("engram_deliveries", "state=\"running\"", running as f64);
    text.sample("engram_deliveries", "state=\"given_up\"", given_up as f64);
    text.family("engram_exemplar_slices", "gauge", "Annotated slices in the bank of the bundle in use.");
    text.sample("engram_exemplar_slices", "", status.exemplar_slices as f64);
    text.family("engram_retrievals_total", "counter", "Retrievals answered, by way of answering.");
    text.sample("engram_retrievals_total", "answered_by=\"graph\"", status.retrievals_by_graph as f64);
    text.sample("engram_retrievals_total", "answered_by=\"exact\"", status.retrievals_by_scan as f64);
    let served = state.workflow.served_bundles();
    bundles(&mut text, &served);
    devices(&mut text, &served);
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(text.0)
}

/// What each served bundle holds and computed.
fn bundles(text: &mut Text, served: &[Arc<ServedBundle>]) {
    text.family(
        "engram_bundle_exemplar_slices",
        "gauge",
        "Annotated slices in the bank of each served bundle.",
    );
    for bundle in served {
        let label = format!("bundle=\"{}\"", bundle.id());
        text.sample("engram_bundle_exemplar_slices", &label, bundle.exemplar_slices() as f64);
    }
    let graphs: Vec<(String, GraphMetrics)> = served
        .iter()
        .flat_map(|bundle| {
            let label =
                |graph: &GraphMetrics| format!("graph=\"{}\",bundle=\"{}\"", graph.graph, bundle.id());
            bundle.engine().metrics().graphs.into_iter().map(move |graph| (label(&graph), graph))
        })
        .collect();
    let mut each = |name: &str, help: &str, value: &dyn Fn(&GraphMetrics) -> f64| {
        text.family(name, "counter", help);
        graphs.iter().for_each(|(label, graph)| text.sample(name, label, value(graph)));
    };
    each("engram_inference_seconds_total", "Seconds inside ONNX Runtime, by graph and bundle.", &|g| {
        g.seconds
    });
    each("engram_inference_rows_total", "Images or objects computed, by graph and bundle.", &|g| {
        g.rows as f64
    });
    each("engram_inference_batches_total", "Calls into ONNX Runtime, by graph and bundle.", &|g| {
        g.batches as f64
    });
}

/// What each device of each served bundle did. A device may be there several times, so its place in the list is part of
/// its name.
fn devices(text: &mut Text, served: &[Arc<ServedBundle>]) {
    let devices: Vec<(String, DeviceMetrics)> = served
        .iter()
        .flat_map(|bundle| {
            let devices = bundle.engine().metrics().devices.into_iter().enumerate();
            devices.map(|(place, device)| {
                let labels =
                    format!("device=\"{}\",place=\"{place}\",bundle=\"{}\"", device.device, bundle.id());
                (labels, device)
            })
        })
        .collect();
    let mut each = |name: &str, kind: &str, help: &str, value: &dyn Fn(&DeviceMetrics) -> f64| {
        text.family(name, kind, help);
        devices.iter().for_each(|(labels, device)| text.sample(name, labels, value(device)));
    };
    each(
        "engram_device_serving",
        "gauge",
        "1: the device computes; 0: it failed and was retired.",
        &|device| f64::from(u8::from(device.retired.is_none())),
    );
    each(
        "engram_device_seconds_total",
        "counter",
        "Seconds inside ONNX Runtime, by device and bundle.",
        &|device| device.seconds,
    );
    each("engram_device_failures_total", "counter", "Batches that a device failed at.", &|device| {
        device.failures as f64
    });
}

struct Text(String);

impl Text {
    // Writing to a String cannot fail, so the results say nothing.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: f64) {
        let _ = match labels {
            "" => writeln!(self.0, "{name} {value}"),
            labels => writeln!(self.0, "{name}{{{labels}}} {value}"),
        };
    }
}
