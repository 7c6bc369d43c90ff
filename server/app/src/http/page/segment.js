// Asking for a segmentation of a series.

import { api } from "./api.js";
import { count } from "./dicom.js";
import { action, button, field, h, select } from "./dom.js";

const QUALITIES = [
  ["", "as configured"],
  ["fast", "fast"],
  ["balanced", "balanced"],
  ["best", "best"],
];

/** A dialog with the labels that the bank offers for the series' modality; then the job's page. */
export async function askForSegmentation({ study, series, modality, name }) {
  const labels = (await api("/labels")).filter((label) => label.exemplars > 0);
  const offered = labels.filter((label) => label.modalities[modality]?.exemplars > 0);
  const dialog = h("dialog", { "aria-labelledby": "segment-title" });
  const told = h("div", {});
  const boxes = offered.map((label) =>
    h("input", { type: "checkbox", name: "label", value: label.label, checked: true }),
  );
  const rows = offered.map((label, index) => row(label, modality, boxes[index]));
  const filter = h("input", {
    type: "search",
    placeholder: "Find a label",
    "aria-label": "Find a label",
    autocomplete: "off",
  });
  filter.addEventListener("input", () => {
    const wanted = filter.value.trim().toLowerCase();
    rows.forEach((row, index) => {
      row.hidden = !offered[index].meaning.toLowerCase().includes(wanted);
    });
  });
  const choose = (isChosen) => () =>
    boxes.forEach((box, index) => {
      if (!rows[index].hidden) box.checked = isChosen;
    });
  const quality = select(QUALITIES, "", { name: "quality" });
  const collections = [...new Set(offered.flatMap((label) => label.collections))].sort();
  const collection = select([["", "all"], ...collections.map((one) => [one, one])], "", { name: "collection" });
  const start = action(
    "Start",
    told,
    async () => {
      const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
      const job = await api("/segmentations", {
        method: "POST",
        json: {
          study,
          series,
          labels: chosen,
          ...(collection.value ? { collection: collection.value } : {}),
          ...(quality.value ? { options: { quality: quality.value } } : {}),
        },
      });
      dialog.close();
      location.hash = `/results/${job.id}`;
    },
    { class: "primary" },
  );
  const content =
    offered.length === 0
      ? [nothing(labels, modality)]
      : [
          h(
            "div",
            { class: "bar" },
            filter,
            h("div", { class: "actions" }, button("All", choose(true)), button("None", choose(false))),
          ),
          h("ul", { class: "labels", tabindex: "0", "aria-label": `Labels with exemplars in ${modality}` }, rows),
          h(
            "div",
            { class: "fields" },
            field("Quality", quality),
            collections.length > 1 ? field("Collection", collection) : null,
          ),
        ];
  dialog.append(
    h("h2", { id: "segment-title" }, `Auto-segment ${name}`),
    ...content,
    told,
    h(
      "div",
      { class: "actions end" },
      button("Cancel", () => dialog.close()),
      ...(offered.length > 0 ? [start] : []),
    ),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

function row(label, modality, box) {
  const { studies, exemplars } = label.modalities[modality];
  return h(
    "li",
    {},
    h(
      "label",
      { class: "check" },
      box,
      h("span", { class: "grow" }, label.meaning || label.label),
      h("span", { class: "muted number" }, `${count(studies, "case")}, ${count(exemplars, "slice")}`),
    ),
  );
}

function nothing(labels, modality) {
  const others = [...new Set(labels.flatMap((label) => Object.keys(label.modalities)))].sort();
  return h(
    "p",
    {},
    others.length === 0
      ? "The bank is empty. Upload annotated studies with their DICOM-SEG first."
      : `The bank has no exemplars in ${modality}; it has some in ${others.join(", ")}. Upload annotated ${modality} studies first.`,
  );
}
