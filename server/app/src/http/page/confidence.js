// How sure the method is, slice by slice: a strip of bars that leads to the slices.

import { button, h } from "./dom.js";

/** A mean of numbers 0 to 1, or of one slice, for people. */
export const percent = (confidence) =>
  confidence === null || confidence === undefined ? "" : `${Math.round(confidence * 100)} %`;

/**
 * A strip: a bar for each slice, as high as the confidence; a slice that the label is not on has a low, pale one; those
 * for review stand under a mark. `entries` has an item of provenance for each slice, or none. Gives its element and
 * `mark(index)`, which shows where the viewer is.
 */
export function strip({ entries, meaning, go }) {
  const bars = entries.map((entry) =>
    h("i", { class: [entry?.pixels ? "on" : "off", entry?.review ? "review" : ""].join(" ").trim() }),
  );
  bars.forEach((bar, index) =>
    bar.style.setProperty("--height", `${Math.round((entries[index]?.confidence ?? 0) * 100)}%`),
  );
  const flagged = entries.flatMap((entry, index) => (entry?.review ? [index] : []));
  const words =
    `Confidence of ${meaning} over ${entries.length} slices; ` +
    (flagged.length ? `for review: ${flagged.map((index) => index + 1).join(", ")}` : "none for review");
  const band = h("div", { class: "strip", role: "img", "aria-label": words }, bars);
  band.addEventListener("click", (event) => {
    const { left, width } = band.getBoundingClientRect();
    go(Math.floor(((event.clientX - left) / width) * entries.length));
  });
  const jumps =
    flagged.length === 0
      ? h("p", { class: "muted" }, "No slice is for review.")
      : h(
          "p",
          { class: "jumps" },
          h("span", {}, h("i", { class: "flag", "aria-hidden": "true" }), "For review: "),
          flagged.map((index) =>
            button(String(index + 1), () => go(index), {
              class: "jump number",
              "aria-label": `Slice ${index + 1}, for review`,
            }),
          ),
        );
  const mark = (at) => bars.forEach((bar, index) => bar.classList.toggle("here", index === at));
  return { element: h("div", {}, band, jumps), mark, flagged };
}
