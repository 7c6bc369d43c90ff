// The bank: labels, exemplars, what to annotate next; who vouches for what.

import { api, isOver, place, search, watchJob } from "./api.js";
import { count, date, patient, text } from "./dicom.js";
import { action, button, confirmed, field, h, pause, picture, problemBox, select, table } from "./dom.js";
import { exemplarPicture, forgetExemplars } from "./exemplars.js";
import { percent } from "./confidence.js";

const PAGE = 48;
const LARGE = "512,512";
// Results that are looked at for one that nobody vouched for yet.
const MOST_RESULTS = 10;
// Looks at the jobs that make exemplars, two a second, before the page goes on without them.
const MOST_TRIES = 240;
const GONE = "No result is drawn from it any more. The SEG stays stored, and can be approved again.";

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
      label.modalities.join(", "),
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
      await followed();
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

function withdraw(segmentation, label) {
  const query = new URLSearchParams({ segmentation, ...(label ? { label } : {}) });
  return api(`/exemplars?${query}`, { method: "DELETE" });
}

/** Waits until the bank has followed what was said: jobs make exemplars, and take them out. */
async function followed() {
  for (let tries = 0; tries < MOST_TRIES; tries += 1) {
    const open = await Promise.all(
      ["queued", "running"].map((state) => api(`/jobs?kind=ingestion&state=${state}&limit=1`)),
    );
    if (open.every((jobs) => jobs.length === 0)) return;
    await pause(500);
  }
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

/** What the bank makes of a stored SEG, and the buttons to change that. */
export function approval(segmentation) {
  const state = h("p", { role: "status" }),
    told = h("div", {}),
    tools = h("div", { class: "actions" });
  const box = h("div", { class: "approval" }, state, tools, told);
  const look = async () => {
    const stored = await api(`/segmentations/${segmentation}`);
    state.textContent = words(stored);
    const isIn = stored.exemplars > 0;
    tools.replaceChildren(isIn ? remove : approve);
    if (!isIn && isComing(stored)) tools.replaceChildren();
  };
  const settle = async () => {
    await look();
    await followed();
    forgetExemplars();
    await look();
  };
  const approve = action(
    "Approve as exemplar",
    told,
    async () => {
      await api("/exemplars", { method: "POST", json: { segmentation } });
      await settle();
    },
    { class: "primary" },
  );
  const remove = action(
    "Remove from the bank",
    told,
    async () => {
      if (!(await confirmed("Remove it from the bank?", GONE, "Remove"))) return;
      await withdraw(segmentation, null);
      await settle();
    },
    { class: "danger" },
  );
  look().catch((problem) => told.replaceChildren(problemBox(problem)));
  return box;
}

/** Whether its exemplars are still to be made. */
const isComing = (stored) => stored.approved && !stored.withdrawn;

function words(stored) {
  if (stored.exemplars > 0)
    return `In the bank: ${count(stored.exemplars, "slice")} of it ${stored.exemplars === 1 ? "counts" : "count"}.`;
  if (stored.withdrawn) return "Taken out of the bank.";
  if (isComing(stored)) return "Approved. Its exemplars are being made.";
  const isAutomatic = stored.segments.every((segment) => segment.algorithm_type === "AUTOMATIC");
  return isAutomatic
    ? "Not in the bank: it was made automatically, and nobody has vouched for it."
    : "Not in the bank yet.";
}

/** The latest results that nobody vouched for. */
async function vouching(signal) {
  const jobs = (await api("/segmentations", { signal })).filter((job) => job.result?.stored).slice(0, MOST_RESULTS);
  const stored = await Promise.all(
    jobs.map((job) => api(`/segmentations/${job.result.sop_instance}`, { signal }).catch(() => null)),
  );
  const open = jobs.filter((_, index) => stored[index] && stored[index].exemplars === 0 && !stored[index].withdrawn);
  if (open.length === 0) return null;
  const rows = await Promise.all(
    open.map(async (job) =>
      h(
        "li",
        { class: "panel" },
        h("a", { href: `#/results/${job.id}` }, await nameOf(job.result.study, signal)),
        approval(job.result.sop_instance),
      ),
    ),
  );
  return h(
    "section",
    {},
    h("h2", {}, "Results to vouch for"),
    h("p", { class: "muted" }, "Look at a result before you approve it: others will be drawn from it."),
    h("ul", { class: "plain vouching" }, rows),
  );
}

async function nameOf(study, signal) {
  const {
    found: [about],
  } = await search("/studies", { StudyInstanceUID: study }, { signal });
  return about ? [patient(about), date(text(about, "StudyDate"))].filter(Boolean).join(", ") : "A study that is gone";
}

/** What to annotate next, when it is asked for: the server may have to look at many series first. */
function suggestions(labels, signal) {
  const told = h("div", {}),
    list = h("div", {});
  const label = select([["", "any label"], ...labels.map((one) => [one.label, one.meaning])], "", {});
  const ask = async () => {
    const query = new URLSearchParams({ limit: 10, ...(label.value && { label: label.value }) });
    let found = await api(`/exemplars/suggestions?${query}`, { signal });
    if (found.job) {
      list.replaceChildren(h("p", { role: "status" }, "The server looks at series that it does not know yet …"));
      const job = await watchJob(found.job, () => {}, signal);
      if (isOver(job)) found = await api(`/exemplars/suggestions?${query}`, { signal });
    }
    list.replaceChildren(...(await suggested(found, signal)));
  };
  return h(
    "details",
    { class: "panel" },
    h("summary", {}, "What to annotate next"),
    h("p", { class: "muted" }, "Stored series without an annotation, those first that the bank would learn most from."),
    h("div", { class: "fields" }, field("For", label), action("Suggest", told, ask)),
    told,
    list,
  );
}

async function suggested({ suggestions, unannotated, surveyed }, signal) {
  const rows = await Promise.all(
    suggestions.map(async (one) => {
      const href = `#/series/${one.study}/${one.series}`;
      return h(
        "li",
        { class: "tile" },
        picture(`${place(one.study, one.series)}/thumbnail`, "", { class: "thumb" }),
        h("a", { href }, await nameOf(one.study, signal)),
        h("span", { class: "muted" }, `${one.modality}, covered ${percent(one.covered)}`),
      );
    }),
  );
  return [
    h(
      "p",
      { class: "muted" },
      `${count(unannotated, "series", "series")} without an annotation, ${surveyed} looked at.`,
    ),
    h("ul", { class: "tiles" }, rows),
  ];
}
