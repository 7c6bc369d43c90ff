// A series: its slices, and the segments over them where it is a segmentation.

import { api, search, searchAll } from "./api.js";
import { approval } from "./approval.js";
import { date, GEOMETRY, isImage, patient, slicesOf, text } from "./dicom.js";
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
  const viewing =
    modality === "SEG"
      ? await ofSegmentation(study, uid, side, signal)
      : await ofImages(study, uid, modality, null, signal);
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
