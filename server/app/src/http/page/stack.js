// Slices of a series, one at a time: by slider, wheel and keys, with what lies over them.

import { ask, place } from "./api.js";
import { field, h, problemBox, select } from "./dom.js";
import { draw } from "./masks.js";

// Centre and width, in the modality's units (Hounsfield).
const WINDOWS = {
  CT: [
    ["40,400,linear", "soft tissue"],
    ["60,160,linear", "liver"],
    ["-600,1500,linear", "lung"],
    ["400,1800,linear", "bone"],
    ["40,80,linear", "brain"],
  ],
};
const STEPS = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1, PageUp: -10, PageDown: 10 };
// Pictures that are kept, and how far ahead they are fetched.
const MOST_KEPT = 64;
const AHEAD = 2;
// Wheel distance of one slice, pixels.
const NOTCH = 40;
// Pixels of the overlay along a slice's longer side, at most, for each of the slice's own.
const FINEST = 1024;

/**
 * A viewer of slices. `slices` as `slicesOf` gives them; `masks` over them, or none; `changed(index)` is told which slice
 * is on show. Gives its elements, `go(index)` and `redraw()`.
 */
export function stack({ study, series, modality, slices, masks, changed, signal }) {
  let index = Math.floor(slices.length / 2);
  const kept = new Map();
  const image = h("canvas", { class: "image", "aria-hidden": "true" });
  const overlay = h("canvas", { class: "overlay", "aria-hidden": "true" });
  const told = h("div", {});
  const where = h("output", { class: "where number" });
  const stage = h(
    "div",
    {
      class: "stage",
      tabindex: "0",
      role: "slider",
      "aria-label": "Slice",
      "aria-orientation": "vertical",
      "aria-valuemin": 1,
      "aria-valuemax": slices.length,
      id: "stage",
    },
    image,
    overlay,
    where,
  );
  const slider = h("input", { type: "range", min: 1, max: slices.length, value: index + 1, "aria-label": "Slice" });
  const opacity = h("input", { type: "range", min: 0, max: 100, value: 80, id: "opacity" });
  const presets = select([["", "as stored"], ...(WINDOWS[modality] ?? [])], "", {});

  const path = (slice) => {
    const frame = slice.frames > 1 ? `/frames/${slice.frame}` : "";
    const window = presets.value ? `?window=${presets.value}` : "";
    return `${place(study, series, slice.instance)}${frame}/rendered${window}`;
  };

  const pictureOf = (slice) => {
    const url = path(slice);
    if (!kept.has(url)) {
      if (kept.size >= MOST_KEPT) kept.delete(kept.keys().next().value);
      const loading = ask(url, { headers: { Accept: "image/jpeg" } })
        .then((answer) => answer.blob())
        .then(createImageBitmap);
      loading.catch(() => kept.delete(url));
      kept.set(url, loading);
    }
    return kept.get(url);
  };

  /** Draws the slice on show; a slice that is no longer on show when it has come is not drawn. */
  const show = async () => {
    const at = index,
      slice = slices[at];
    slider.value = at + 1;
    where.textContent = `${at + 1} / ${slices.length}`;
    stage.setAttribute("aria-valuenow", at + 1);
    stage.setAttribute("aria-valuetext", `Slice ${at + 1} of ${slices.length}`);
    changed?.(at);
    try {
      const [picture, layers] = await Promise.all([pictureOf(slice), masks?.on(slice) ?? []]);
      if (at !== index) return;
      image.width = picture.width;
      image.height = picture.height;
      image.getContext("2d").drawImage(picture, 0, 0);
      stage.style.aspectRatio = `${picture.width} / ${picture.height * (slice.aspect || 1)}`;
      if (masks) {
        const grid = { rows: picture.height, columns: picture.width };
        draw(overlay, masks, layers, grid, Math.max(1, Math.floor(FINEST / Math.max(grid.rows, grid.columns))));
      }
      stage.dataset.drawn = at + 1;
      told.replaceChildren();
      for (let step = 1; step <= AHEAD; step += 1) {
        [at - step, at + step].filter((one) => slices[one]).forEach((one) => pictureOf(slices[one]).catch(() => {}));
      }
    } catch (problem) {
      if (at === index && !signal.aborted) told.replaceChildren(problemBox(problem, show));
    }
  };

  const go = (to) => {
    const next = Math.min(slices.length - 1, Math.max(0, to));
    if (next === index) return;
    index = next;
    show();
  };
  const fade = () => {
    overlay.style.opacity = opacity.value / 100;
  };
  slider.addEventListener("input", () => go(slider.value - 1));
  opacity.addEventListener("input", fade);
  presets.addEventListener("change", show);
  stage.addEventListener("keydown", (event) => {
    const to =
      event.key === "Home"
        ? 0
        : event.key === "End"
          ? slices.length - 1
          : event.key in STEPS
            ? index + STEPS[event.key]
            : null;
    if (to === null || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    go(to);
  });
  let rolled = 0;
  stage.addEventListener(
    "wheel",
    (event) => {
      if (event.ctrlKey) return;
      event.preventDefault();
      rolled += event.deltaMode === WheelEvent.DOM_DELTA_LINE ? event.deltaY * NOTCH : event.deltaY;
      const steps = Math.trunc(rolled / NOTCH);
      rolled -= steps * NOTCH;
      if (steps !== 0) go(index + steps);
    },
    { passive: false },
  );
  fade();
  const controls = h(
    "div",
    { class: "controls" },
    h("label", { class: "field wide" }, h("span", {}, "Slice"), slider),
    masks ? field("Overlay", opacity) : null,
    WINDOWS[modality] ? field("Window", presets) : null,
  );
  return { elements: [h("div", { class: "frame" }, stage), told, controls], go, redraw: show, index: () => index };
}
