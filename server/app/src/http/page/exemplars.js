// Exemplars, and pictures of what was annotated on them.

import { api, place } from "./api.js";
import { h, picture } from "./dom.js";

const PAGE = 1000;
const ofStudies = new Map();
const segmentations = new Map();

/** The exemplars of a study in a bundle's bank, by id; asked for once. */
export function exemplarsOf(study, bundle) {
  const key = `${study} ${bundle}`;
  if (!ofStudies.has(key)) {
    const loading = load(study, bundle);
    loading.catch(() => ofStudies.delete(key));
    ofStudies.set(key, loading);
  }
  return ofStudies.get(key);
}

async function load(study, bundle) {
  const found = new Map();
  for (let offset = 0; offset !== null; ) {
    const query = new URLSearchParams({ study, offset, limit: PAGE, ...(bundle ? { bundle } : {}) });
    const page = await api(`/exemplars?${query}`);
    page.exemplars.forEach((exemplar) => found.set(exemplar.id, exemplar));
    offset = page.next_offset;
  }
  return found;
}

/** What a stored SEG shows; asked for once, since a stored object never changes. */
function segmentation(uid) {
  if (!segmentations.has(uid)) {
    const loading = api(`/segmentations/${uid}`);
    loading.catch(() => segmentations.delete(uid));
    segmentations.set(uid, loading);
  }
  return segmentations.get(uid);
}

/** Forgets what was asked for: the bank has changed. */
export function forgetExemplars() {
  ofStudies.clear();
}

/** A picture of an exemplar's slice with what is annotated there: one label, or all that are on it; it fills in later. */
export function exemplarPicture(exemplar, { label, alt, viewport } = {}) {
  const box = h("span", { class: "thumb layers" });
  const size = viewport ? `?viewport=${viewport}` : "";
  const plain = picture(
    `${place(exemplar.study, exemplar.series, exemplar.sop_instance)}/frames/${exemplar.frame}/thumbnail${size}`,
    alt ?? "",
  );
  box.append(plain);
  const labels = label ? [label] : exemplar.present;
  overlays(exemplar, labels, size).then(
    (layers) => box.append(...layers),
    () => {},
  );
  return box;
}

async function overlays(exemplar, labels, size) {
  if (!labels.some((label) => exemplar.present.includes(label))) return [];
  const seg = await segmentation(exemplar.segmentation);
  const numbers = seg.segments.filter((segment) => labels.includes(segment.label)).map((segment) => segment.number);
  const frames = seg.frames.filter(
    (frame) =>
      frame.sop_instance === exemplar.sop_instance &&
      frame.sop_frame === exemplar.frame &&
      (frame.segment === null || numbers.includes(frame.segment)),
  );
  return frames.map((frame) =>
    h("img", {
      src: `${place(seg.study, seg.series, seg.segmentation)}/frames/${frame.frame}/thumbnail${size}`,
      alt: "",
      loading: "lazy",
    }),
  );
}
