// A series: its slices, and the segments over them where it is a segmentation.

import { api, ask, place, search, searchAll } from "./api.js";
import { approval } from "./approval.js";
import { date, GEOMETRY, isDocument, isImage, patient, slicesOf, text } from "./dicom.js";
import { action, facts, h } from "./dom.js";
import { Masks } from "./masks.js";
import { askForSegmentation } from "./segment.js";
import { stack } from "./stack.js";

export async function series({ names: [study, uid], signal }) {
  const {
    found: [about],
  } = await search(
    `/studies/${study}/series`,
    { SeriesInstanceUID: uid, includefield: "PatientName,PatientID,StudyDate,SeriesDescription" },
    { signal },
  );
  if (!about)
    return h("section", {}, h("h1", {}, "No such series"), h("p", {}, h("a", { href: "#/studies" }, "To the studies")));
  const modality = text(about, "Modality");
  const name = text(about, "SeriesDescription") || `Series ${text(about, "SeriesNumber")}`.trim();
  const told = h("div", {});
  const side = h(
    "aside",
    { class: "side", "aria-label": "Series" },
    facts([
      ["Modality", modality],
      ["Study date", date(text(about, "StudyDate"))],
      ["Patient ID", text(about, "PatientID")],
    ]),
  );
  if (isImage(modality)) {
    side.prepend(
      h(
        "div",
        { class: "actions" },
        action("Auto-segment", told, () => askForSegmentation({ study, series: uid, modality, name }), {
          class: "primary",
        }),
      ),
      told,
    );
  }
  const viewing = await (modality === "SEG"
    ? ofSegmentation(study, uid, side, signal)
    : isDocument(modality)
      ? ofDocuments(study, uid, signal)
      : ofImages(study, uid, modality, null, signal));
  return h(
    "section",
    {},
    h("p", { class: "trail" }, h("a", { href: `#/studies/${study}` }, patient(about))),
    h("h1", {}, name),
    h("div", { class: "result" }, h("div", { class: "viewing" }, viewing), side),
  );
}

async function ofImages(study, uid, modality, masks, signal) {
  const instances = await searchAll(
    `/studies/${study}/series/${uid}/instances`,
    { includefield: GEOMETRY },
    { signal },
  );
  const slices = slicesOf(instances).filter((slice) => slice.rows > 0);
  if (slices.length === 0) return [h("p", { class: "empty" }, "This series has no pictures.")];
  const viewport = stack({ study, series: uid, modality, slices, masks, signal });
  viewport.redraw();
  return viewport.elements;
}

/** What each says, and where it is a page of its own. */
async function ofDocuments(study, uid, signal) {
  const instances = await searchAll(`/studies/${study}/series/${uid}/instances`, {}, { signal });
  const documents = [];
  // One after the other: a series may hold many.
  for (const instance of instances) {
    documents.push(await ofDocument(place(study, uid, text(instance, "SOPInstanceUID")), signal));
  }
  return documents;
}

async function ofDocument(instance, signal) {
  const href = `${instance}/rendered`;
  const said = await asText(href, signal);
  return h(
    "article",
    { class: "panel" },
    h("p", {}, h("a", { href }, "Open by itself")),
    said === null ? null : h("pre", { class: "said" }, said),
  );
}

/** A document as text; null where it is another kind of file. */
async function asText(href, signal) {
  try {
    return await (await ask(href, { headers: { Accept: "text/plain" }, signal })).text();
  } catch (problem) {
    if (problem.status === 406) return null;
    throw problem;
  }
}

/** The first SEG of the series over the series that it was made on. */
async function ofSegmentation(study, uid, side, signal) {
  const {
    found: [instance],
  } = await search(`/studies/${study}/series/${uid}/instances`, { limit: 1 }, { signal });
  const stored = await api(`/segmentations/${text(instance, "SOPInstanceUID")}`, { signal });
  side.append(
    h(
      "ul",
      { class: "labels flat panel" },
      stored.segments.map((segment) =>
        h(
          "li",
          {},
          h("span", { class: "grow" }, segment.meaning),
          h("span", { class: "muted" }, segment.algorithm_type.toLowerCase()),
        ),
      ),
    ),
    h("section", { class: "panel" }, h("h2", {}, "Teach"), approval(stored.segmentation)),
  );
  const [target] = stored.targets;
  if (!target) return [h("p", { class: "empty" }, "It does not say what it was made on.")];
  const {
    found: [source],
  } = await search(`/studies/${target.study}/series`, { SeriesInstanceUID: target.series }, { signal });
  if (!source) return [h("p", { class: "empty" }, "The images that it was made on are not stored here.")];
  return ofImages(target.study, target.series, text(source, "Modality"), new Masks(stored), signal);
}
