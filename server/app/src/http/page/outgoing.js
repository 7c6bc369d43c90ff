// What leaves: deliveries to nodes and calls of webhooks, and what could not be delivered.

import { api } from "./api.js";
import { moment } from "./dicom.js";
import { action, field, h, problemBox, repeat, select } from "./dom.js";
import { stateOf } from "./jobs.js";

const STATES = [
  ["", "all"],
  ["queued", "waiting"],
  ["running", "under way"],
  ["succeeded", "delivered"],
  ["failed", "given up"],
  ["cancelled", "discarded"],
];
const FORMS = {
  segmentation: "segmentation",
  binary_segmentation: "segmentation as BINARY",
  secondary_capture: "pictures",
  report: "report",
};
const LISTED = 50,
  SECONDS = 3;

export async function outgoing({ signal }) {
  const state = select(STATES, "", {});
  const list = h("ul", { class: "jobs" });
  const told = h("div", {});
  let shown = "";
  const load = async () => {
    const query = new URLSearchParams({ limit: LISTED, ...(state.value && { state: state.value }) });
    const found = await api(`/deliveries?${query}`, { signal });
    const text = JSON.stringify(found);
    if (text === shown) return;
    shown = text;
    list.replaceChildren(
      ...(found.length
        ? found.map((delivery) => row(delivery, load))
        : [h("li", { class: "empty" }, "Nothing is like that.")]),
    );
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
  state.addEventListener("change", again);
  repeat(again, () => SECONDS, signal);
  return h("section", {}, h("h1", {}, "Outgoing"), h("div", { class: "fields" }, field("State", state)), told, list);
}

function row(delivery, load) {
  const told = h("div", {});
  const change = (title, path, method, options) =>
    action(title, told, () => api(`/deliveries/${delivery.id}${path}`, { method }).then(load), options);
  const isWaiting = delivery.state === "queued";
  const isGivenUp = delivery.state === "failed";
  return h(
    "li",
    {},
    h(
      "div",
      { class: "bar" },
      h("strong", {}, delivery.to),
      stateOf(delivery),
      h("span", { class: "number muted" }, moment(delivery.created_at)),
      isWaiting || isGivenUp ? change("Send now", "/resend", "POST", {}) : null,
      isWaiting || isGivenUp ? change("Discard", "", "DELETE", { class: "danger" }) : null,
    ),
    h("p", {}, contentOf(delivery)),
    isWaiting && delivery.next_attempt_at
      ? h("p", { class: "number muted" }, `attempt ${delivery.attempts + 1} at ${moment(delivery.next_attempt_at)}`)
      : null,
    delivery.error ? problemBox({ title: isGivenUp ? "It was given up" : "It failed for now", ...delivery.error }) : null,
    told,
  );
}

function contentOf({ content, what, news, rules, study }) {
  const by = rules.length ? ` by ${rules.join(", ")}` : "";
  if (news) return `News: ${news.event.replaceAll("_", " ")}`;
  const link = study ? [" of ", h("a", { href: `#/studies/${study}` }, "this study")] : [];
  const name = content === "result" ? what.map((form) => FORMS[form]).join(", ") : "series";
  return h("span", {}, name, ...link, by);
}
