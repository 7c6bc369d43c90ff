//! `GET /metrics`: the Prometheus text format, version 0.0.4.

use std::fmt::Write;

use actix_web::{HttpResponse, Responder, web};
use engram_inference::{DeviceMetrics, GraphMetrics};

use super::State;

/// Counters and gauges of every room.
pub async fn get(state: web::Data<State>) -> impl Responder {
    let mut text = Text(String::with_capacity(4096));
    let status = state.workflow.status();
    text.family("engram_jobs", "gauge", "Jobs by state.");
    text.sample("engram_jobs", "state=\"waiting\"", status.jobs_waiting as f64);
    text.sample("engram_jobs", "state=\"running\"", status.jobs_running as f64);
    text.family("engram_exemplar_slices", "gauge", "Annotated slices in the bank.");
    text.sample("engram_exemplar_slices", "", status.exemplar_slices as f64);
    text.family("engram_retrievals_total", "counter", "Retrievals answered, by way of answering.");
    text.sample("engram_retrievals_total", "answered_by=\"graph\"", status.retrievals_by_graph as f64);
    text.sample("engram_retrievals_total", "answered_by=\"exact\"", status.retrievals_by_scan as f64);
    let engine = state.workflow.engine_metrics();
    text.family("engram_inference_seconds_total", "counter", "Seconds inside ONNX Runtime, by graph.");
    for graph in &engine.graphs {
        text.sample("engram_inference_seconds_total", &label(graph), graph.seconds);
    }
    text.family("engram_inference_rows_total", "counter", "Images or objects computed, by graph.");
    for graph in &engine.graphs {
        text.sample("engram_inference_rows_total", &label(graph), graph.rows as f64);
    }
    text.family("engram_inference_batches_total", "counter", "Calls into ONNX Runtime, by graph.");
    for graph in &engine.graphs {
        text.sample("engram_inference_batches_total", &label(graph), graph.batches as f64);
    }
    devices(&mut text, &engine.devices);
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(text.0)
}

fn devices(text: &mut Text, devices: &[DeviceMetrics]) {
    // A device may be there several times, so its place in the list is part of its name.
    let labelled = || {
        devices
            .iter()
            .enumerate()
            .map(|(place, device)| (format!("device=\"{}\",place=\"{place}\"", device.device), device))
    };
    text.family("engram_device_serving", "gauge", "1: the device computes; 0: it failed and was retired.");
    for (labels, device) in labelled() {
        text.sample("engram_device_serving", &labels, f64::from(u8::from(device.retired.is_none())));
    }
    text.family("engram_device_seconds_total", "counter", "Seconds inside ONNX Runtime, by device.");
    for (labels, device) in labelled() {
        text.sample("engram_device_seconds_total", &labels, device.seconds);
    }
    text.family("engram_device_failures_total", "counter", "Batches that a device failed at.");
    for (labels, device) in labelled() {
        text.sample("engram_device_failures_total", &labels, device.failures as f64);
    }
}

fn label(graph: &GraphMetrics) -> String {
    format!("graph=\"{}\"", graph.graph)
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
