// A segmentation job: how far it is, then what came of it.

import { api, isOver, search, watchJob } from "./api.js";
import { patient, text } from "./dicom.js";
import { action, h, problemBox } from "./dom.js";
import { progressOf, stateOf } from "./jobs.js";
import { outcome } from "./outcome.js";

export async function result({ names: [id], signal }) {
  const first = await api(`/jobs/${id}`, { signal });
  const { study, series } = first.request;
  const body = h("div", {});
  const about = await titleOf(study, series, signal);
  const view = h(
    "section",
    {},
    h("p", { class: "trail" }, h("a", { href: `#/studies/${study}` }, about.patient)),
    h("h1", {}, about.title),
    body,
  );
  if (isOver(first)) {
    body.append(...(await ended(first, signal)));
    return view;
  }
  const told = h("div", {});
  const progress = h("div", { role: "status" });
  const cancel = action("Cancel", told, () => api(`/jobs/${id}`, { method: "DELETE" }), { class: "danger" });
  body.append(h("div", { class: "panel" }, progress, h("div", { class: "actions" }, cancel), told));
  const tell = (job) => progress.replaceChildren(stateOf(job), ...progressOf(job));
  watchJob(id, tell, signal)
    .then((job) => (signal.aborted ? null : ended(job, signal)))
    .then((content) => {
      if (content) body.replaceChildren(...content);
    })
    .catch((problem) => {
      if (!signal.aborted) body.replaceChildren(problemBox(problem, () => location.reload()));
    });
  return view;
}

async function titleOf(study, series, signal) {
  const [ofStudies, ofSeriesOfIt] = await Promise.all([
    search("/studies", { StudyInstanceUID: study }, { signal }),
    search(`/studies/${study}/series`, { SeriesInstanceUID: series, includefield: "SeriesDescription" }, { signal }),
  ]);
  const [ofStudy] = ofStudies.found;
  const [ofSeries] = ofSeriesOfIt.found;
  const name = ofSeries && (text(ofSeries, "SeriesDescription") || `series ${text(ofSeries, "SeriesNumber")}`);
  return { patient: ofStudy ? patient(ofStudy) : "Study", title: `Segmentation of ${name ?? "a series that is gone"}` };
}

async function ended(job, signal) {
  if (job.state === "failed") return [stateOf(job), problemBox({ title: "The job failed", ...job.error })];
  if (job.state === "cancelled") return [stateOf(job)];
  return outcome(job, signal);
}
