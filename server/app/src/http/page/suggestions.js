// What is to be done for the bank: results to vouch for, series to annotate.

import { api, isOver, place, search, watchJob } from "./api.js";
import { approval } from "./approval.js";
import { percent } from "./confidence.js";
import { count, date, patient, text } from "./dicom.js";
import { action, field, h, picture, select } from "./dom.js";

// Results that are looked at for one that nobody vouched for yet.
const MOST_RESULTS = 10;

/** The latest results that nobody vouched for. */
export async function vouching(signal) {
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

/** What to annotate next, when it is asked for: the server may have to look at many series first. */
export function suggestions(labels, signal) {
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

async function nameOf(study, signal) {
  const {
    found: [about],
  } = await search("/studies", { StudyInstanceUID: study }, { signal });
  return about ? [patient(about), date(text(about, "StudyDate"))].filter(Boolean).join(", ") : "A study that is gone";
}
