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

/** Pictures of slices as the server renders them, the latest ones kept. */
class Pictures {
  constructor(study, series, window) {
    Object.assign(this, { study, series, window, kept: new Map() });
  }

  of(slice) {
    const frame = slice.frames > 1 ? `/frames/${slice.frame}` : "";
    const window = this.window() ? `?window=${this.window()}` : "";
    const url = `${place(this.study, this.series, slice.instance)}${frame}/rendered${window}`;
    if (!this.kept.has(url)) {
      if (this.kept.size >= MOST_KEPT) this.kept.delete(this.kept.keys().next().value);
      const loading = load(url);
      loading.catch(() => this.kept.delete(url));
      this.kept.set(url, loading);
    }
    return this.kept.get(url);
  }
}

async function load(url) {
  const answer = await ask(url, { headers: { Accept: "image/jpeg" } });
  return createImageBitmap(await answer.blob());
}

/** What a viewer of so many slices consists of. */
function parts(count, modality) {
  const image = h("canvas", { class: "image", "aria-hidden": "true" });
  const overlay = h("canvas", { class: "overlay", "aria-hidden": "true" });
  const where = h("output", { class: "where number" });
  const range = { "aria-valuemin": 1, "aria-valuemax": count, "aria-orientation": "vertical" };
  return {
    image,
    overlay,
    where,
    told: h("div", {}),
    stage: h(
      "div",
      { class: "stage", id: "stage", tabindex: "0", role: "slider", "aria-label": "Slice", ...range },
      image,
      overlay,
      where,
    ),
    slider: h("input", { type: "range", min: 1, max: count, "aria-label": "Slice" }),
    opacity: h("input", { type: "range", min: 0, max: 100, value: 80, id: "opacity" }),
    presets: select([["", "as stored"], ...(WINDOWS[modality] ?? [])], "", {}),
  };
}

/**
 * A viewer of slices. `slices` as `slicesOf` gives them; `masks` over them, or none; `changed(index)` is told which one
 * is on show. Gives its elements, `go(index)`, `index()` and `redraw()`, which also draws for the first time.
 */
export function stack({ study, series, modality, slices, masks, changed, signal }) {
  let index = Math.floor(slices.length / 2);
  const view = parts(slices.length, modality);
  const pictures = new Pictures(study, series, () => view.presets.value);

  /** Draws the slice on show; one that is no longer on show when it has come is not drawn. */
  const redraw = async () => {
    const at = index;
    name(view, at, slices.length);
    changed?.(at);
    try {
      const [picture, layers] = await Promise.all([pictures.of(slices[at]), masks?.on(slices[at]) ?? []]);
      if (at !== index) return;
      drawPicture(view, picture, slices[at]);
      if (masks) drawMasks(view, masks, layers, picture);
      view.stage.dataset.drawn = at + 1;
      view.stage.removeAttribute("aria-busy");
      view.told.replaceChildren();
      neighbours(slices, at).forEach((slice) => pictures.of(slice).catch(() => {}));
    } catch (problem) {
      if (at !== index || signal.aborted) return;
      // Nothing is on show under a number that is not its own.
      [view.image, view.overlay].forEach((canvas) => Object.assign(canvas, { width: 1, height: 1 }));
      view.told.replaceChildren(problemBox(problem, redraw));
    }
  };

  const go = (to) => {
    const next = Math.min(slices.length - 1, Math.max(0, to));
    if (next === index) return;
    index = next;
    redraw();
  };
  const fade = () => {
    view.overlay.style.opacity = view.opacity.value / 100;
  };
  view.slider.addEventListener("input", () => go(view.slider.value - 1));
  view.opacity.addEventListener("input", fade);
  view.presets.addEventListener("change", redraw);
  takeKeys(view.stage, (key) => go(target(key, index, slices.length)));
  takeWheel(view.stage, (steps) => go(index + steps));
  fade();
  const controls = h(
    "div",
    { class: "controls" },
    h("label", { class: "field wide" }, h("span", {}, "Slice"), view.slider),
    masks ? field("Overlay", view.opacity) : null,
    WINDOWS[modality] ? field("Window", view.presets) : null,
  );
  return { elements: [h("div", { class: "frame" }, view.stage), view.told, controls], go, redraw, index: () => index };
}

/** Says which slice is asked for; it is on its way until it is drawn. */
function name({ slider, where, stage }, at, count) {
  slider.value = at + 1;
  where.textContent = `${at + 1} / ${count}`;
  stage.setAttribute("aria-valuenow", at + 1);
  stage.setAttribute("aria-valuetext", `Slice ${at + 1} of ${count}`);
  stage.setAttribute("aria-busy", "true");
}

function drawPicture({ image, stage }, picture, slice) {
  Object.assign(image, { width: picture.width, height: picture.height });
  image.getContext("2d").drawImage(picture, 0, 0);
  stage.style.aspectRatio = `${picture.width} / ${picture.height * slice.aspect}`;
}

function drawMasks({ overlay }, masks, layers, picture) {
  const grid = { rows: picture.height, columns: picture.width };
  draw(overlay, masks, layers, grid, Math.max(1, Math.floor(FINEST / Math.max(grid.rows, grid.columns))));
}

/** The slices that will probably be asked for next. */
function neighbours(slices, at) {
  const steps = Array.from({ length: AHEAD }, (_, step) => step + 1);
  return steps.flatMap((step) => [slices[at + step], slices[at - step]]).filter(Boolean);
}

/** Where a key leads. */
function target(key, index, count) {
  return { Home: 0, End: count - 1 }[key] ?? index + STEPS[key];
}

function takeKeys(stage, go) {
  stage.addEventListener("keydown", (event) => {
    const isOurs = event.key in STEPS || ["Home", "End"].includes(event.key);
    if (!isOurs || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    go(event.key);
  });
}

/** Wheels and touch pads: what is left of a notch counts for the next. */
function takeWheel(stage, go) {
  let rolled = 0;
  const roll = (event) => {
    if (event.ctrlKey) return;
    event.preventDefault();
    rolled += event.deltaMode === WheelEvent.DOM_DELTA_LINE ? event.deltaY * NOTCH : event.deltaY;
    const steps = Math.trunc(rolled / NOTCH);
    rolled -= steps * NOTCH;
    if (steps !== 0) go(steps);
  };
  stage.addEventListener("wheel", roll, { passive: false });
}
