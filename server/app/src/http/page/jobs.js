// What the server is doing: jobs, live.

import { api, isOver } from "./api.js";
import { duration, moment } from "./dicom.js";
import { action, field, h, problemBox, repeat, select } from "./dom.js";

const KINDS = {
  segmentation: "Segmentation",
  ingestion: "Exemplars from an annotation",
  reencode: "Exemplars for another bundle",
  survey: "Look at what nobody annotated",
  retrieve: "Retrieval from a node",
  send: "Sending to a node",
};
const STATES = ["queued", "running", "succeeded", "failed", "cancelled"];
const LISTED = 50;
const BUSY_SECONDS = 1,
  IDLE_SECONDS = 5;

/** A job's state, told by word and form. */
export const stateOf = (job) => h("span", { class: `state ${job.state}` }, job.state);

/** How far a job is: a bar, the stage, the time left. */
export function progressOf(job) {
  if (isOver(job)) return [];
  const total = job.slices_total || null;
  const words = [
    job.stage,
    total && `${job.slices_done} of ${total}`,
    job.estimated_seconds_left !== null && `about ${duration(job.estimated_seconds_left)} left`,
  ]
    .filter(Boolean)
    .join(", ");
  return [
    h("progress", { "aria-label": "Progress", ...(total ? { max: total, value: job.slices_done } : {}) }),
    h("p", { class: "number" }, words || "waiting for its turn"),
  ];
}

export async function jobs({ signal }) {
  const kind = select([["", "all"], ...Object.entries(KINDS)], "", {});
  const state = select([["", "all"], ...STATES.map((one) => [one, one])], "", {});
  const list = h("ul", { class: "jobs" });
  const told = h("div", {});
  const shown = new Map();
  let isBusy = true;
  const load = async () => {
    const query = new URLSearchParams({
      limit: LISTED,
      ...(kind.value && { kind: kind.value }),
      ...(state.value && { state: state.value }),
    });
    const found = await api(`/jobs?${query}`, { signal });
    isBusy = found.some((job) => !isOver(job));
    update(list, shown, found);
  };
  await load();
  const again = async () => {
    try {
      await load();
      told.replaceChildren();
    } catch (problem) {
      if (!signal.aborted) told.replaceChildren(problemBox(problem));
    }
  };
  [kind, state].forEach((choice) => choice.addEventListener("change", again));
  repeat(again, () => (isBusy ? BUSY_SECONDS : IDLE_SECONDS), signal);
  return h(
    "section",
    {},
    h("h1", {}, "Jobs"),
    h("div", { class: "fields" }, field("Kind", kind), field("State", state)),
    told,
    list,
  );
}

/** Brings the list up to date: a row is made anew only where its job has changed, so that the focus stays. */
function update(list, shown, found) {
  const rows = found.map((job) => {
    const text = JSON.stringify(job);
    const known = shown.get(job.id);
    if (known?.text === text) return known.row;
    const fresh = row(job);
    const hadFocus = known?.row.contains(document.activeElement);
    known?.row.replaceWith(fresh);
    if (hadFocus) fresh.querySelector("button, a")?.focus();
    shown.set(job.id, { text, row: fresh });
    return fresh;
  });
  if (rows.length !== list.children.length || rows.some((one, index) => list.children[index] !== one))
    list.replaceChildren(...rows);
  if (rows.length === 0) list.replaceChildren(h("li", { class: "empty" }, "No job is like that."));
}

function row(job) {
  const told = h("div", {});
  const name = KINDS[job.kind] ?? job.kind;
  const title = job.kind === "segmentation" ? h("a", { href: `#/results/${job.id}` }, name) : name;
  const seconds = job.stage_seconds.reduce((sum, [, seconds]) => sum + seconds, 0);
  return h(
    "li",
    {},
    h(
      "div",
      { class: "bar" },
      h("strong", {}, title),
      stateOf(job),
      h("span", { class: "number muted" }, moment(job.created_at)),
      isOver(job) ? h("span", { class: "number muted" }, duration(seconds)) : null,
      isOver(job)
        ? null
        : action("Cancel", told, () => api(`/jobs/${job.id}`, { method: "DELETE" }), { class: "danger" }),
    ),
    ...progressOf(job),
    job.error ? problemBox({ title: "It failed", ...job.error }) : null,
    told,
  );
}
