// The rules in force, to be read.

import { h, table } from "./dom.js";

/** A table of rules. */
export function rules(found) {
  if (found.length === 0) return h("p", { class: "muted" }, "No rule is configured.");
  return table(
    "Rules",
    [
      ["Rule", "name"],
      ["When", ""],
      ["Then", ""],
    ],
    found.map((rule) => [rule.name, when(rule), then(rule)]),
  );
}

function when({ when: patterns }) {
  const all = Object.entries(patterns ?? {}).map(([keyword, pattern]) => `${keyword} is ${pattern}`);
  return all.length ? all.join(" and ") : "always";
}

function then(rule) {
  return h(
    "ul",
    { class: "plain" },
    [
      rule.collection && `exemplars go to the collection ${rule.collection}`,
      rule.bundle && `the bundle ${rule.bundle} segments`,
      rule.automatic_segmentations_are_exemplars && "automatic segmentations are exemplars",
    ]
      .filter(Boolean)
      .map((action) => h("li", {}, action)),
  );
}
