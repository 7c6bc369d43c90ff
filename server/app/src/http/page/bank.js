// The bank: labels and exemplars.

import { api } from "./api.js";
import { GONE, withdraw } from "./approval.js";
import { action, button, confirmed, field, h, select, table } from "./dom.js";
import { exemplarPicture, forgetExemplars } from "./exemplars.js";
import { suggestions, vouching } from "./suggestions.js";

const PAGE = 48;
const LARGE = "512,512";

export async function bank({ query, signal }) {
  const labels = await api("/labels", { signal });
  const list = h("div", { "aria-live": "polite" });
  const offset = Number(query.get("offset")) || 0;
  const load = async () => {
    forgetExemplars();
    list.replaceChildren(...(await page(query, offset, labels, load, signal)));
  };
  await load();
  return h(
    "section",
    {},
    h("h1", {}, "Bank"),
    summary(labels),
    await vouching(signal),
    suggestions(labels, signal),
    h("h2", {}, "Exemplars"),
    filters(query, labels),
    list,
  );
}

function summary(labels) {
  if (labels.length === 0) {
    return h(
      "p",
      { class: "empty" },
      "The bank is empty. Upload studies with their DICOM-SEG: each annotated slice becomes an exemplar.",
    );
  }
  const columns = [
    ["Label", "name"],
    ["Cases", "number right"],
    ["Slices", "number right"],
    ["Slices without it", "number right"],
    ["Modality", ""],
    ["Collection", ""],
  ];
  return table(
    "Labels",
    columns,
    labels.map((label) => [
      h("a", { href: `#/bank?${new URLSearchParams({ label: label.label })}` }, label.meaning || label.label),
      String(label.studies),
      String(label.exemplars),
      String(label.negatives),
      Object.keys(label.modalities).join(", "),
      label.collections.join(", "),
    ]),
  );
}

function filters(query, labels) {
  const collections = [...new Set(labels.flatMap((label) => label.collections))].sort();
  const go = () => {
    const asked = [
      ["label", label.value],
      ["collection", collection.value],
    ].filter(([, value]) => value);
    location.hash = `/bank?${new URLSearchParams(asked)}`;
  };
  const label = select(
    [["", "all"], ...labels.map((one) => [one.label, `${one.meaning} (${one.exemplars})`])],
    query.get("label") ?? "",
    { on: { change: go } },
  );
  const collection = select([["", "all"], ...collections.map((one) => [one, one])], query.get("collection") ?? "", {
    on: { change: go },
  });
  const study = query.get("study");
  return h(
    "div",
    { class: "fields" },
    field("Label", label),
    field("Collection", collection),
    study ? h("p", {}, "Of one study. ", h("a", { href: "#/bank" }, "Show all")) : null,
  );
}

/** A page of exemplars, those of one SEG together. */
async function page(query, offset, labels, load, signal) {
  const asked = Object.fromEntries(
    ["label", "collection", "study"].map((name) => [name, query.get(name)]).filter(([, value]) => value),
  );
  const { exemplars, next_offset: next } = await api(
    `/exemplars?${new URLSearchParams({ ...asked, offset, limit: PAGE })}`,
    { signal },
  );
  if (exemplars.length === 0)
    return labels.length === 0 ? [] : [h("p", { class: "empty" }, "No exemplar is like that.")];
  const meaning = (key) => labels.find((label) => label.label === key)?.meaning || key;
  const groups = Map.groupBy(exemplars, (exemplar) => exemplar.segmentation);
  const go = (to) => () => {
    location.hash = `/bank?${new URLSearchParams({ ...asked, offset: to })}`;
  };
  return [
    ...[...groups].map(([segmentation, members]) => group(segmentation, members, asked.label, meaning, load)),
    offset > 0 || next !== null
      ? h(
          "nav",
          { class: "pages", "aria-label": "Pages of exemplars" },
          button("Previous", go(Math.max(0, offset - PAGE)), { disabled: offset === 0 }),
          h("span", { class: "number" }, `${offset + 1} to ${offset + exemplars.length}`),
          button("Next", go(next), { disabled: next === null }),
        )
      : null,
  ].filter(Boolean);
}

function group(segmentation, members, label, meaning, load) {
  const [{ patient_id: id, study, modality, collection, partial }] = members;
  const told = h("div", {});
  const present = [...new Set(members.flatMap((one) => one.present))];
  const title = `${id || "No ID"}, ${modality}`;
  const remove = action(
    "Remove …",
    told,
    async () => {
      const which = select([["", "all its labels"], ...present.map((key) => [key, meaning(key)])], "", {
        name: "which",
      });
      const isSure = await confirmed(`Remove ${title} from the bank?`, GONE, "Remove", field("What", which));
      if (!isSure) return;
      await withdraw(segmentation, which.value);
      await load();
    },
    { class: "danger" },
  );
  return h(
    "section",
    { class: "panel group", "aria-label": `Annotation of ${title}` },
    h(
      "div",
      { class: "bar" },
      h("h2", {}, h("a", { href: `#/studies/${study}` }, title)),
      h("span", { class: "muted" }, [collection, partial && "partial"].filter(Boolean).join(", ")),
      h("div", { class: "actions" }, remove),
    ),
    told,
    h(
      "ul",
      { class: "tiles" },
      members.map((exemplar) => tile(exemplar, label, meaning)),
    ),
  );
}

function tile(exemplar, label, meaning) {
  const words = exemplar.present.length ? exemplar.present.map(meaning).join(", ") : "none of its labels";
  const open = button("", () => enlarge(exemplar, label, words), {
    class: "bare",
    "aria-label": `Slice ${exemplar.slice_index + 1}: ${words}`,
  });
  open.append(exemplarPicture(exemplar, { label }));
  return h(
    "li",
    { class: "tile" },
    open,
    h("span", { class: "muted number" }, `slice ${exemplar.slice_index + 1}`),
    h("span", {}, words),
  );
}

/** An exemplar in large, the annotation more or less opaque. */
function enlarge(exemplar, label, words) {
  const layers = exemplarPicture(exemplar, { label, alt: words, viewport: LARGE });
  layers.classList.add("large");
  const opacity = h("input", { type: "range", min: 0, max: 100, value: 100 });
  opacity.addEventListener("input", () => layers.style.setProperty("--over", opacity.value / 100));
  const dialog = h(
    "dialog",
    { "aria-labelledby": "exemplar-title" },
    h("h2", { id: "exemplar-title" }, `${exemplar.patient_id || "No ID"}, slice ${exemplar.slice_index + 1}`),
    h("p", { class: "muted" }, words),
    layers,
    h("div", { class: "controls" }, field("Annotation", opacity)),
    h(
      "div",
      { class: "actions end" },
      button("Close", () => dialog.close(), { autofocus: true }),
    ),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
