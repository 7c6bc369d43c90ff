// Why a slice looks as it does: the exemplars behind it.

import { h, problemBox } from "./dom.js";
import { exemplarPicture, exemplarsOf } from "./exemplars.js";
import { percent } from "./confidence.js";
import { count } from "./dicom.js";

/** Items of provenance by label, each with one for every slice, in the slices' order. */
export function byLabel(provenance, slices) {
  const found = new Map();
  const at = new Map(slices.map((slice, index) => [`${slice.instance}/${slice.frame}`, index]));
  for (const item of provenance) {
    if (!found.has(item.label)) found.set(item.label, new Array(slices.length).fill(null));
    const index = at.get(`${item.sop_instance}/${item.frame}`);
    if (index !== undefined) found.get(item.label)[index] = item;
  }
  return found;
}

/** The panel of one slice and label; `show(item, meaning)` brings it up to date. */
export function sources(bundle) {
  const title = h("h2", {}, "From these cases");
  const about = h("p", { class: "muted" });
  const list = h("ul", { class: "tiles" });
  let latest = 0;
  const show = async (item, meaning) => {
    const call = (latest += 1);
    about.textContent = words(item, meaning);
    try {
      const tiles = await Promise.all((item?.exemplars ?? []).map((source) => tile(source, item.label, bundle)));
      if (call === latest) list.replaceChildren(...tiles);
    } catch (problem) {
      if (call === latest) list.replaceChildren(h("li", {}, problemBox(problem)));
    }
  };
  return { element: h("section", { class: "sources", "aria-label": "From these cases" }, title, about, list), show };
}

function words(item, meaning) {
  if (!item) return `Nothing is known of ${meaning} on this slice.`;
  const where = item.pixels ? count(item.pixels, "pixel") : "not on this slice";
  return `${meaning}: ${where}, confidence ${percent(item.confidence)}${item.review ? ", for review" : ""}`;
}

async function tile(source, label, bundle) {
  // An exemplar is a label on a slice: `SLICE-ENTRY`.
  const id = Number(source.exemplar.split("-")[0]);
  const exemplar = (await exemplarsOf(source.study, bundle)).get(id);
  const similarity = h("span", { class: "number" }, source.similarity.toFixed(3));
  if (!exemplar)
    return h("li", { class: "tile" }, h("span", { class: "thumb none" }, "no longer in the bank"), similarity);
  const href = `#/studies/${exemplar.study}`;
  return h(
    "li",
    { class: "tile" },
    exemplarPicture(exemplar, { label, alt: `Slice ${exemplar.slice_index + 1} of patient ${exemplar.patient_id}` }),
    h("a", { href }, exemplar.patient_id || "no ID"),
    h("span", { class: "muted" }, `slice ${exemplar.slice_index + 1}`),
    h("span", { class: "muted" }, "similarity ", similarity),
    source.present ? null : h("span", { class: "muted" }, "it is not there"),
  );
}
