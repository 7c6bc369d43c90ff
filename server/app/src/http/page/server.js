// The server: health, models, timings, nodes, rules.

import { api, ask, watchJob } from "./api.js";
import { count, duration } from "./dicom.js";
import { action, confirmed, facts, h, problemBox, table } from "./dom.js";
import { progressOf, stateOf } from "./jobs.js";
import { nodes } from "./nodes.js";
import { rules } from "./rules.js";

// Jobs that timings are a mean of.
const LATEST = 20;

export async function server({ signal }) {
  const sections = [
    ["Health", healthOf],
    ["Models", models],
    ["Timings", timings],
    ["Inference", metrics],
    ["Nodes", nodes],
    ["Rules in force", rules],
  ];
  const shown = await Promise.all(
    sections.map(async ([title, make]) => h("section", {}, h("h2", {}, title), await make(signal).catch(orElse))),
  );
  return h("section", {}, h("h1", {}, "Server"), shown);
}

/** A part that the token may not see says so; without a connection there is nothing to show at all. */
function orElse(problem) {
  if (problem.code === "server_down" || problem.name === "AbortError") throw problem;
  return problemBox(problem);
}

async function healthOf(signal) {
  const about = await api("/health", { signal });
  return h(
    "div",
    { class: "panel" },
    h("p", {}, h("span", { class: "state succeeded" }, about.status)),
    facts([
      ["Version", about.version],
      ["Bundle", about.bundle],
      ["Computes on", about.device],
      ["Annotated slices", about.exemplar_slices],
      ["Jobs running", about.jobs_running],
      ["Jobs waiting", about.jobs_waiting],
    ]),
    about.devices
      .filter((device) => !device.serving)
      .map((device) => h("p", { class: "problem" }, `${device.device} was retired: ${device.retired_because}`)),
  );
}

async function models(signal) {
  const box = h("div", {});
  const load = async () =>
    box.replaceChildren(...(await api("/models", { signal })).map((bundle) => model(bundle, load, signal)));
  await load();
  return box;
}

function model(bundle, load, signal) {
  const told = h("div", {}),
    progress = h("div", { role: "status" });
  const use = action("Use", told, async () => {
    if (
      !(await confirmed(
        `Use ${bundle.name} ${bundle.version}?`,
        "Every exemplar is encoded for it first; until then the bundle in use answers.",
        "Use it",
      ))
    )
      return;
    const job = await api("/models/use", { method: "POST", json: { bundle: bundle.id } });
    if (job?.id) await watchJob(job.id, (now) => progress.replaceChildren(stateOf(now), ...progressOf(now)), signal);
    await load();
  });
  const drop = action(
    "Drop",
    told,
    async () => {
      if (
        !(await confirmed(
          `Drop ${bundle.name} ${bundle.version}?`,
          "It is no longer served, and what was encoded for it is removed.",
          "Drop it",
        ))
      )
        return;
      await api(`/models/${encodeURIComponent(bundle.id)}`, { method: "DELETE" });
      await load();
    },
    { class: "danger" },
  );
  const tools = { "in use": [], ready: [use, drop], available: [use] }[bundle.state] ?? [];
  return h(
    "div",
    { class: "panel" },
    h(
      "div",
      { class: "bar" },
      h("h3", {}, `${bundle.name} ${bundle.version}`),
      h("span", { class: `state ${bundle.state === "in use" ? "succeeded" : ""}` }, bundle.state),
      h("div", { class: "actions" }, tools),
    ),
    facts([
      ["Exemplars", bundle.exemplars],
      ["Computes on", bundle.device],
      ["Licence", bundle.licence],
      ["Source", bundle.source],
    ]),
    progress,
    told,
  );
}

/** Seconds of each stage, the mean over the latest segmentations. */
async function timings(signal) {
  const jobs = await api(`/jobs?kind=segmentation&state=succeeded&limit=${LATEST}`, { signal });
  if (jobs.length === 0) return h("p", { class: "muted" }, "Nothing was segmented yet.");
  const stages = new Map();
  jobs.forEach((job) =>
    job.stage_seconds.forEach(([stage, seconds]) =>
      stages.set(stage, (stages.get(stage) ?? 0) + seconds / jobs.length),
    ),
  );
  const all = [...stages.values()].reduce((sum, seconds) => sum + seconds, 0);
  const slices = jobs.reduce((sum, job) => sum + job.result.slices, 0) / jobs.length;
  const rows = [...stages].map(([stage, seconds]) => [
    stage,
    duration(seconds),
    h("meter", { min: 0, max: all, value: seconds, "aria-label": `${stage}, share of all` }),
  ]);
  return h(
    "div",
    {},
    h(
      "p",
      { class: "muted" },
      `Mean of the latest ${count(jobs.length, "segmentation")}: ${duration(all)}, ${(slices / all).toFixed(1)} slices a second.`,
    ),
    table(
      "Seconds of each stage",
      [
        ["Stage", "name"],
        ["Time", "number right"],
        ["Share", ""],
      ],
      rows,
    ),
  );
}

/** The main figures of `/metrics`, which Prometheus reads. */
async function metrics(signal) {
  const samples = parse(await (await ask("/metrics", { signal })).text());
  const graphs = [
    ...new Set(samples.filter((one) => one.name === "engram_inference_rows_total").map((one) => one.labels.graph)),
  ];
  const total = (name, labels) =>
    samples
      .filter((one) => one.name === name && Object.entries(labels).every(([key, value]) => one.labels[key] === value))
      .reduce((sum, one) => sum + one.value, 0);
  const rows = graphs.map((graph) => {
    const [seconds, images] = ["seconds", "rows"].map((unit) => total(`engram_inference_${unit}_total`, { graph }));
    return [graph, String(images), duration(seconds), images ? duration(seconds / images) : ""];
  });
  const retrievals = total("engram_retrievals_total", {});
  return h(
    "div",
    {},
    h(
      "p",
      { class: "muted" },
      `${count(retrievals, "retrieval")}, ${count(total("engram_device_failures_total", {}), "failure")} of devices since the start. `,
      h("a", { href: "/metrics" }, "All figures"),
    ),
    table(
      "Inference by graph",
      [
        ["Graph", "name"],
        ["Computed", "number right"],
        ["Time", "number right"],
        ["Each", "number right"],
      ],
      rows,
    ),
  );
}

/** The Prometheus text format, version 0.0.4, as far as it is used. */
function parse(text) {
  return text.split("\n").flatMap((line) => {
    const found = line.match(/^(\w+)(?:\{(.*)\})? (\S+)$/);
    if (!found) return [];
    const labels = Object.fromEntries(
      [...(found[2] ?? "").matchAll(/(\w+)="([^"]*)"/g)].map(([, key, value]) => [key, value]),
    );
    return [{ name: found[1], labels, value: Number(found[3]) }];
  });
}
