// The rules in force, to be read.

import { h, table } from "./dom.js";

const ORIGINS = { configuration: "configuration", api: "API" };
const AFTER_ATTRIBUTES = ["slices", "source", "calling_ae_title", "all", "any", "not"];
const FORMS = {
  segmentation: "the segmentation",
  binary_segmentation: "the segmentation as BINARY",
  secondary_capture: "pictures",
  report: "a report",
};

/** A table of rules. */
export function rules(found) {
  if (found.length === 0) return h("p", { class: "muted" }, "No rule is configured.");
  return table(
    "Rules",
    [
      ["Rule", "name"],
      ["From", ""],
      ["When", ""],
      ["Then", ""],
    ],
    found.map((rule) => [
      rule.enabled ? rule.name : `${rule.name} (switched off)`,
      ORIGINS[rule.origin],
      conditionOf(rule.when) || "always",
      list(actionsOf(rule)),
    ]),
  );
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
