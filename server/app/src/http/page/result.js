// A segmentation job: how far it is, then its result with slices, confidence and provenance.

import { api, health, isOver, search, searchAll, watchJob } from "./api.js";
import { approval } from "./bank.js";
import { strip, percent } from "./confidence.js";
import { count, duration, patient, slicesOf, text } from "./dicom.js";
import { action, facts, h, problemBox } from "./dom.js";
import { progressOf, stateOf } from "./jobs.js";
import { Masks } from "./masks.js";
import { byLabel, sources } from "./provenance.js";
import { stack } from "./stack.js";

export const GEOMETRY =
  "InstanceNumber,ImagePositionPatient,ImageOrientationPatient,PixelSpacing,PixelAspectRatio,NumberOfFrames,Rows,Columns";

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
  const [
    {
      found: [ofStudy],
    },
    {
      found: [ofSeries],
    },
  ] = await Promise.all([
    search("/studies", { StudyInstanceUID: study }, { signal }),
    search(`/studies/${study}/series`, { SeriesInstanceUID: series, includefield: "SeriesDescription" }, { signal }),
  ]);
  const name = ofSeries && (text(ofSeries, "SeriesDescription") || `series ${text(ofSeries, "SeriesNumber")}`);
  return { patient: ofStudy ? patient(ofStudy) : "Study", title: `Segmentation of ${name ?? "a series that is gone"}` };
}

async function ended(job, signal) {
  if (job.state === "failed") return [stateOf(job), problemBox({ title: "The job failed", ...job.error })];
  if (job.state === "cancelled") return [stateOf(job)];
  return show(job, signal);
}

async function show(job, signal) {
  const { result, request } = job;
  const stored = result.stored ? await api(`/segmentations/${result.sop_instance}`, { signal }) : null;
  const [
    instances,
    provenance,
    { viewer },
    {
      found: [series],
    },
  ] = await Promise.all([
    searchAll(`/studies/${request.study}/series/${request.series}/instances`, { includefield: GEOMETRY }, { signal }),
    api(`/jobs/${job.id}/provenance`, { signal }),
    health(),
    search(`/studies/${request.study}/series`, { SeriesInstanceUID: request.series }, { signal }),
  ]);
  const slices = slicesOf(instances);
  const items = byLabel(provenance, slices);
  const masks = stored && new Masks(stored);
  const panel = sources(result.bundle);
  let [chosen] = [...result.labels].sort((a, b) => b.voxels - a.voxels);
  let band = null;
  const bandPlace = h("div", {});
  const tell = (index) => {
    band?.mark(index);
    panel.show(items.get(chosen?.label)?.[index], chosen?.meaning ?? "");
  };
  const viewport = stack({
    study: request.study,
    series: request.series,
    modality: series ? text(series, "Modality") : "",
    slices,
    masks,
    changed: tell,
    signal,
  });
  const choose = (label) => {
    chosen = label;
    band = strip({ entries: items.get(label.label) ?? [], meaning: label.meaning, go: viewport.go });
    bandPlace.replaceChildren(h("h2", {}, `Confidence: ${label.meaning}`), band.element);
    tell(viewport.index());
  };
  const rows = labels(result.labels, masks, choose, viewport.redraw);
  document.addEventListener(
    "keydown",
    (event) => {
      if (
        !["n", "p"].includes(event.key) ||
        event.target.closest("input:not([type=range]), select, textarea, dialog") ||
        !band
      )
        return;
      const here = viewport.index();
      const next =
        event.key === "n" ? band.flagged.find((index) => index > here) : band.flagged.findLast((index) => index < here);
      if (next !== undefined) viewport.go(next);
    },
    { signal },
  );
  const name = `engram-${request.series}.dcm`;
  const tools = h(
    "div",
    { class: "actions" },
    h("a", { class: "button", href: `/api/v1/jobs/${job.id}/result`, download: name }, "Download the SEG"),
    viewer && result.stored
      ? h("a", { class: "button", href: `/viewer/viewer?StudyInstanceUIDs=${request.study}` }, "Open in OHIF")
      : null,
  );
  if (chosen) choose(chosen);
  viewport.redraw();
  return [
    h(
      "div",
      { class: "result" },
      h(
        "div",
        { class: "viewing" },
        ...viewport.elements,
        bandPlace,
        h(
          "p",
          { class: "muted keys" },
          "Keys on the image: arrows, Page Up and Down, Home, End. ",
          h("kbd", {}, "n"),
          " and ",
          h("kbd", {}, "p"),
          " go to the next and the previous slice for review.",
        ),
      ),
      h(
        "aside",
        { class: "side", "aria-label": "Result" },
        tools,
        rows,
        result.notes.length
          ? h(
              "ul",
              { class: "notes" },
              result.notes.map((note) => h("li", {}, note)),
            )
          : null,
        result.stored
          ? h("section", { class: "panel" }, h("h2", {}, "Teach"), approval(result.sop_instance))
          : h("p", {}, "A preview: it is not in the archive."),
        facts([
          ["Bundle", result.bundle],
          ["Slices", result.slices],
          ["Quality", request.options?.quality],
          ["Took", duration(job.stage_seconds.reduce((sum, [, seconds]) => sum + seconds, 0))],
        ]),
      ),
    ),
    panel.element,
  ];
}

/** The labels: shown or not, chosen for the strip and the cases. */
function labels(found, masks, choose, redraw) {
  const choices = found.map((label, index) =>
    h("input", { type: "radio", name: "chosen", value: label.label, id: `label-${index}` }),
  );
  const rows = found.map((label, index) => {
    const segment = masks?.segments.find((one) => one.number === label.segment_number);
    const swatch = h("i", { class: "swatch", "aria-hidden": "true" });
    if (segment) swatch.style.background = `rgb(${segment.colour.join(" ")})`;
    const isShown = h("input", {
      type: "checkbox",
      checked: true,
      disabled: !segment,
      "aria-label": `Show ${label.meaning}`,
    });
    isShown.addEventListener("change", () => {
      segment.isShown = isShown.checked;
      redraw();
    });
    choices[index].addEventListener("change", () => choose(label));
    return h(
      "li",
      {},
      isShown,
      swatch,
      h("label", { class: "grow", for: `label-${index}` }, choices[index], label.meaning),
      h("span", { class: "number muted" }, label.voxels ? percent(label.confidence) : "none"),
      h(
        "span",
        { class: "number flags" },
        label.review.length
          ? [
              h("i", { class: "flag", "aria-hidden": "true" }),
              h("span", {}, `${label.review.length} `),
              h("span", { class: "unseen" }, "for review"),
            ]
          : null,
      ),
    );
  });
  const largest = found.reduce((best, label, index) => (label.voxels > (found[best]?.voxels ?? -1) ? index : best), 0);
  if (choices[largest]) choices[largest].checked = true;
  return h(
    "fieldset",
    { class: "panel" },
    h("legend", {}, `Labels (${count(found.length, "segment")})`),
    h("ul", { class: "labels flat" }, rows),
  );
}
