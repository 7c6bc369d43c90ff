// The rules in force, and what they did last.

import { api } from "./api.js";
import { moment } from "./dicom.js";
import { h, table } from "./dom.js";

// Times that the rules were asked which are looked through, and of those the ones that a rule had a part in and are shown.
const ASKED = 200,
  SHOWN = 3;

const ORIGINS = { configuration: "file", api: "API" };
const AFTER_ATTRIBUTES = ["slices", "source", "calling_ae_title", "all", "any", "not"];
const FORMS = {
  segmentation: "the segmentation",
  binary_segmentation: "the segmentation as BINARY",
  secondary_capture: "pictures",
  report: "a report",
};

/** A table of rules. */
export async function rules(signal) {
  const [found, asked] = await Promise.all([
    api("/rules", { signal }),
    api(`/jobs?kind=routing&state=succeeded&limit=${ASKED}`, { signal }),
  ]);
  if (found.length === 0) return h("p", { class: "muted" }, "No rule is configured.");
  return table(
    "Rules",
    [
      ["Rule", "name"],
      ["From", ""],
      ["When", ""],
      ["Then", ""],
      ["Last runs", ""],
    ],
    found.map((rule) => [
      rule.enabled ? rule.name : `${rule.name} (switched off)`,
      ORIGINS[rule.origin],
      conditionOf(rule.when) || "always",
      list(actionsOf(rule)),
      lastRuns(rule, asked),
    ]),
  );
}

function lastRuns(rule, asked) {
  const runs = asked
    .map(({ created_at: at, result }) => ({
      at,
      study: result.study,
      done: result.series.filter((series) => series.rules.includes(rule.name)),
    }))
    .filter(({ done }) => done.length > 0);
  if (runs.length === 0) return h("span", { class: "muted" }, "none that is remembered");
  return list(
    runs
      .slice(0, SHOWN)
      .map(({ at, study, done }) => [h("a", { href: `#/studies/${study}` }, moment(at)), " ", outcomesOf(done)]),
  );
}

/** What became of the series of a study, the same said once. */
function outcomesOf(done) {
  const times = new Map();
  for (const one of done) {
    const said = outcomeOf(one);
    times.set(said, (times.get(said) ?? 0) + 1);
  }
  return [...times].map(([said, number]) => (number > 1 ? `${said} (${number} series)` : said)).join(", ");
}

function outcomeOf({ outcome, to, error }) {
  return {
    segmented: "segmented",
    already_segmented: "was segmented already",
    refused: `refused: ${error?.message}`,
    forwarded: `forwarded to ${to}`,
    not_returned: `came from ${to}`,
  }[outcome];
}

function list(items) {
  return h(
    "ul",
    { class: "plain" },
    items.map((item) => h("li", {}, item)),
  );
}

/** A condition in words; nothing where it always holds. */
function conditionOf(condition) {
  return Object.entries(condition ?? {})
    .sort(([a], [b]) => AFTER_ATTRIBUTES.indexOf(a) - AFTER_ATTRIBUTES.indexOf(b))
    .map(([key, value]) => partOf(key, value))
    .filter(Boolean)
    .join(" and ");
}

function partOf(key, value) {
  if (key === "all") return value.map(inBrackets).join(" and ");
  if (key === "any") return `(${value.map(inBrackets).join(" or ")})`;
  if (key === "not") return `not ${inBrackets(value)}`;
  if (key === "slices") return `slices ${bounds(value)}`;
  return `${key.replaceAll("_", " ")} ${testOf(value)}`;
}

function inBrackets(condition) {
  return `(${conditionOf(condition)})`;
}

function testOf(test) {
  if (typeof test === "string") return `is ${test}`;
  if (Array.isArray(test)) return `is ${test.join(" or ")}`;
  return [
    test.present === true && "is there",
    test.present === false && "is not there",
    test.regex && `matches ${test.regex}`,
    bounds(test),
  ]
    .filter(Boolean)
    .join(" and ");
}

function bounds({ min, max }) {
  return [min !== undefined && `≥ ${min}`, max !== undefined && `≤ ${max}`].filter(Boolean).join(" and ");
}

function actionsOf({ then, send = [], quiet_seconds: quiet }) {
  const acts = then.segment || then.forward;
  return [
    then.segment && `segments ${then.segment.labels?.join(", ") ?? "every label"}`,
    ...send.map(({ to, what }) => `sends ${what.map((form) => FORMS[form]).join(", ")} to ${to}`),
    then.forward && `forwards the series to ${then.forward.join(", ")}`,
    acts && `${quiet} s after the study's last instance`,
    then.collection && `exemplars go to the collection ${then.collection}`,
    then.bundle && `the bundle ${then.bundle} segments`,
    then.automatic_segmentations_are_exemplars && "automatic segmentations are exemplars",
  ].filter(Boolean);
}
