// What came of a segmentation: slices with the overlay, confidence, provenance, and what may be done with it.

import { api, health, search, searchAll } from "./api.js";
import { approval } from "./approval.js";
import { strip, percent } from "./confidence.js";
import { count, duration, GEOMETRY, slicesOf, text } from "./dicom.js";
import { facts, h } from "./dom.js";
import { Masks } from "./masks.js";
import { byLabel, sources } from "./provenance.js";
import { stack } from "./stack.js";

/** What a job that succeeded gave, as elements. */
export async function outcome(job, signal) {
  const found = await load(job, signal);
  const panel = sources(job.result.bundle);
  const bandPlace = h("div", {});
  let label = largest(job.result.labels);
  let band = null;
  const follow = (index) => {
    band?.mark(index);
    panel.show(found.items.get(label?.label)?.[index], label?.meaning ?? "");
  };
  const viewport = stack({ ...job.request, ...found, changed: follow, signal });
  const choose = (chosen) => {
    label = chosen;
    band = strip({ entries: found.items.get(label.label) ?? [], meaning: label.meaning, go: viewport.go });
    bandPlace.replaceChildren(h("h2", {}, `Confidence: ${label.meaning}`), band.element);
    follow(viewport.index());
  };
  if (label) choose(label);
  viewport.redraw();
  takeReviewKeys(viewport, () => band?.flagged ?? [], signal);
  const viewing = h("div", { class: "viewing" }, ...viewport.elements, bandPlace, keys());
  const side = h(
    "aside",
    { class: "side", "aria-label": "Result" },
    downloads(job, found.viewer),
    labels(job.result.labels, found.masks, choose, viewport.redraw),
    about(job),
  );
  return [h("div", { class: "result" }, viewing, side), panel.element];
}

/** Slices of the target, masks over them, provenance by label, the modality, and whether OHIF is there. */
async function load({ id, result, request: { study, series } }, signal) {
  const [stored, instances, provenance, ofSeries, { viewer }] = await Promise.all([
    result.stored ? api(`/segmentations/${result.sop_instance}`, { signal }) : null,
    searchAll(`/studies/${study}/series/${series}/instances`, { includefield: GEOMETRY }, { signal }),
    api(`/jobs/${id}/provenance`, { signal }),
    search(`/studies/${study}/series`, { SeriesInstanceUID: series }, { signal }),
    health(),
  ]);
  const slices = slicesOf(instances);
  return {
    slices,
    items: byLabel(provenance, slices),
    masks: stored && new Masks(stored),
    modality: ofSeries.found[0] ? text(ofSeries.found[0], "Modality") : "",
    viewer,
  };
}

/** The label with most voxels, which is shown first. */
function largest(labels) {
  return labels.reduce((best, label) => (label.voxels > (best?.voxels ?? -1) ? label : best), null);
}

/** `n` and `p` go to the next and the previous slice for review. */
function takeReviewKeys(viewport, flagged, signal) {
  const take = (event) => {
    if (!["n", "p"].includes(event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input:not([type=range], [type=radio], [type=checkbox]), select, textarea, dialog"))
      return;
    const here = viewport.index();
    const isNext = event.key === "n";
    const to = isNext ? flagged().find((index) => index > here) : flagged().findLast((index) => index < here);
    if (to !== undefined) viewport.go(to);
  };
  document.addEventListener("keydown", take, { signal });
}

function keys() {
  const [next, previous] = ["n", "p"].map((key) => h("kbd", {}, key));
  return h(
    "p",
    { class: "muted keys" },
    "Keys on the image: arrows, Page Up and Down, Home, End. ",
    ...[next, " and ", previous, " go to the next and the previous slice for review."],
  );
}

function downloads({ id, result, request }, viewer) {
  const file = { href: `/api/v1/jobs/${id}/result`, download: `engram-${request.series}.dcm` };
  const ohif = { href: `/viewer/viewer?StudyInstanceUIDs=${request.study}` };
  return h(
    "div",
    { class: "actions" },
    h("a", { class: "button", ...file }, "Download the SEG"),
    viewer && result.stored ? h("a", { class: "button", ...ohif }, "Open in OHIF") : null,
  );
}

/** Notes of the method, what the bank makes of the result, and how it was made. */
function about({ result, request, stage_seconds: stages }) {
  const notes = result.notes.map((note) => h("li", {}, note));
  const seconds = stages.reduce((sum, [, seconds]) => sum + seconds, 0);
  return [
    notes.length > 0 ? h("ul", { class: "notes" }, notes) : null,
    result.stored
      ? h("section", { class: "panel" }, h("h2", {}, "Teach"), approval(result.sop_instance))
      : h("p", {}, "A preview: it is not in the archive."),
    facts([
      ["Bundle", result.bundle],
      ["Slices", result.slices],
      ["Quality", request.options?.quality],
      ["Took", duration(seconds)],
    ]),
  ];
}

/** The labels: shown or not, and one chosen for the strip and the cases. */
function labels(found, masks, choose, redraw) {
  const rows = found.map((label, index) =>
    row(label, index, { masks, choose, redraw, isChosen: label === largest(found) }),
  );
  return h(
    "fieldset",
    { class: "panel" },
    h("legend", {}, `Labels (${count(found.length, "segment")})`),
    h("ul", { class: "labels flat" }, rows),
  );
}

function row(label, index, { masks, choose, redraw, isChosen }) {
  const id = `label-${index}`;
  const segment = masks?.segments.find((one) => one.number === label.segment_number);
  const swatch = h("i", { class: "swatch", "aria-hidden": "true" });
  if (segment) swatch.style.background = `rgb(${segment.colour.join(" ")})`;
  const show = (event) => {
    segment.isShown = event.target.checked;
    redraw();
  };
  const check = { type: "checkbox", checked: true, disabled: !segment, "aria-label": `Show ${label.meaning}` };
  const radio = { type: "radio", name: "chosen", value: label.label, id, checked: isChosen };
  return h(
    "li",
    {},
    h("input", { ...check, on: { change: show } }),
    swatch,
    h(
      "label",
      { class: "grow", for: id },
      h("input", { ...radio, on: { change: () => choose(label) } }),
      label.meaning,
    ),
    h("span", { class: "number muted" }, label.voxels ? percent(label.confidence) : "none"),
    h("span", { class: "number flags" }, label.review.length > 0 ? flags(label.review.length) : null),
  );
}

function flags(number) {
  return [
    h("i", { class: "flag", "aria-hidden": "true" }),
    h("span", {}, `${number} `),
    h("span", { class: "unseen" }, "for review"),
  ];
}
