// STOW-RS from the browser: files go out in batches, as they lie on the disk, and what is refused says why.

import { Problem, lost } from "./api.js";
import { count } from "./dicom.js";
import { button, h } from "./dom.js";
import { chosen, dropped, isDicom } from "./files.js";

// A batch ends at so many files, or at so many bytes.
const BATCH_FILES = 50;
const BATCH_BYTES = 32 * 2 ** 20;
// Failures that are listed; more are only counted.
const MOST_LISTED = 200;

// FailureReason (0008,1197), PS3.18 Table I.2-2.
const REASONS = {
  0x0110: "the server could not process it",
  0x0111: "another object is stored under its SOP Instance UID",
  0x0122: "its SOP class is not taken",
  0xa700: "the server is out of space, or it is over a limit",
  0xa900: "its data set does not match what it says it is",
  0xc000: "it could not be understood",
  0xc122: "its transfer syntax is not taken",
};

/** What is under way; one at a time, others wait behind it. */
const upload = { waiting: [], isRunning: false, request: null, isStopped: false };
const told = new EventTarget();

/** Fires `stored` whenever a batch is stored. */
export const uploads = told;

/** Stores files. `options`: `collection` and `partial`, as STOW-RS takes them. */
export function store(files, options = {}) {
  upload.waiting.push({ files, options });
  if (!upload.isRunning) run();
}

/** Takes what is dropped anywhere on the page. */
export function takeDrops() {
  const curtain = document.getElementById("drop");
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => {
    if (hasFiles(event)) curtain.hidden = false;
  });
  addEventListener("dragover", (event) => {
    if (hasFiles(event)) event.preventDefault();
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) curtain.hidden = true;
  });
  addEventListener("drop", (event) => {
    curtain.hidden = true;
    if (!hasFiles(event)) return;
    event.preventDefault();
    store(dropped(event.dataTransfer), options());
  });
}

// What the fields beside the choosers say; they live as long as the page, so that drops mean the same everywhere.
const collection = h("input", { name: "collection", autocomplete: "off", placeholder: "default" });
const partial = h("input", { type: "checkbox", name: "partial" });
const options = () => ({ collection: collection.value.trim(), partial: partial.checked });

/** Choosers of files and of a folder. */
export function choosers() {
  const chooser = (text, attributes) => {
    const input = h("input", {
      type: "file",
      multiple: true,
      class: "unseen",
      "aria-label": text,
      tabindex: "-1",
      ...attributes,
    });
    input.addEventListener("change", () => {
      store(chosen([...input.files]), options());
      input.value = "";
    });
    return [button(text, () => input.click()), input];
  };
  return h(
    "div",
    { class: "choosers" },
    h(
      "div",
      { class: "actions" },
      chooser("Upload files", { id: "files" }),
      chooser("Upload a folder", { id: "folder", webkitdirectory: true }),
      h("span", { class: "muted wide-only" }, "or drop them anywhere on this page"),
    ),
    h(
      "details",
      {},
      h("summary", {}, "Options for annotations"),
      h("p", { class: "muted" }, "DICOM-SEGs among the files become exemplars."),
      h("label", { class: "field" }, h("span", {}, "Collection"), collection),
      h("label", { class: "check" }, partial, "Only some slices are annotated: those without a frame are unknown"),
    ),
  );
}

async function run() {
  Object.assign(upload, { isRunning: true, isStopped: false });
  const state = { sent: 0, stored: 0, bytes: 0, failures: [], failed: 0, isOver: false };
  const show = panel(state);
  while (upload.waiting.length > 0 && !upload.isStopped) {
    const { files, options } = upload.waiting.shift();
    try {
      for await (const batch of batches(files, state)) {
        await sendBatch(batch, options, state, show);
        if (upload.isStopped) break;
      }
    } catch (error) {
      fail(state, "the folder", error.message);
    }
  }
  upload.waiting.length = 0;
  upload.isRunning = false;
  state.isOver = true;
  show();
}

/** Files in batches; what is no DICOM file is told of and left out. */
async function* batches(files, state) {
  let batch = [],
    bytes = 0;
  for await (const { file, path, error } of files) {
    if (error) {
      fail(state, path, error.message);
      continue;
    }
    if (!(await isDicom(file).catch(() => false))) {
      fail(state, path, "it is no DICOM file: it lacks the mark DICM");
      continue;
    }
    if (batch.length > 0 && (batch.length === BATCH_FILES || bytes + file.size > BATCH_BYTES)) {
      yield batch;
      [batch, bytes] = [[], 0];
    }
    batch.push({ file, path });
    bytes += file.size;
  }
  if (batch.length > 0) yield batch;
}

/** Sends a batch; where something is refused, each of its files alone, so that the reason stands beside its name. What is
 * stored already is stored again for nothing: the server knows the same data set. */
async function sendBatch(batch, options, state, show) {
  const before = { bytes: state.bytes, sent: state.sent };
  const progress = (bytes) => show(Object.assign(state, { bytes: before.bytes + bytes }));
  let problem = await send(batch, options, progress);
  if (problem && batch.length > 1 && !upload.isStopped) {
    for (const one of batch) {
      problem = await send([one], options, () => {});
      problem ? fail(state, one.path, problem) : (state.stored += 1);
      state.sent += 1;
      show();
      if (upload.isStopped) break;
    }
  } else if (!upload.isStopped) {
    problem ? fail(state, batch[0].path, problem) : (state.stored += batch.length);
    state.sent += batch.length;
  }
  show();
  told.dispatchEvent(new Event("stored"));
}

function fail(state, path, reason) {
  state.failed += 1;
  if (state.failures.length < MOST_LISTED) state.failures.push({ path, reason });
}

/** Sends files in one request; what is wrong in words, or nothing. */
function send(batch, options, progress) {
  const boundary = `engram-${crypto.getRandomValues(new Uint32Array(4)).join("-")}`;
  const parts = batch.flatMap(({ file }) => [`--${boundary}\r\nContent-Type: application/dicom\r\n\r\n`, file, "\r\n"]);
  const query = new URLSearchParams();
  if (options.collection) query.set("collection", options.collection);
  if (options.partial) query.set("partial", "true");
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    upload.request = request;
    request.open("POST", `/dicomweb/studies?${query}`);
    request.setRequestHeader("Content-Type", `multipart/related; type="application/dicom"; boundary=${boundary}`);
    request.setRequestHeader("Accept", "application/dicom+json");
    request.upload.addEventListener("progress", (event) => progress(event.loaded));
    request.addEventListener("load", () => resolve(refusal(request)));
    request.addEventListener("abort", () => resolve("it was stopped"));
    request.addEventListener("error", () => resolve(lost().message));
    // A Blob of files is not read into memory: the browser sends them from the disk.
    request.send(new Blob([...parts, `--${boundary}--\r\n`]));
  });
}

/** Why the answer to a Store transaction (PS3.18 10.5.3) is no success. */
function refusal(request) {
  let answer = {};
  try {
    answer = JSON.parse(request.responseText);
  } catch {
    /* an answer without a body has a status all the same */
  }
  const failures = ["00081198", "0008119A"].flatMap((tag) => answer[tag]?.Value ?? []);
  if (failures.length > 0) return failures.map(reasonOf).join("; ");
  if (request.status < 300) return null;
  const problem = new Problem(request.status, answer);
  return [problem.message, problem.what_to_do].filter(Boolean).join(". ");
}

function reasonOf(failure) {
  const reason = failure["00081197"]?.Value?.[0] ?? 0;
  const words = failure["00000902"]?.Value?.[0];
  const number = `${reason.toString(16).toUpperCase().padStart(4, "0")}H`;
  return [REASONS[reason] ?? "it was refused", words && `(${words})`, number].filter(Boolean).join(" ");
}

/** The panel at the foot of the page; a function that brings it up to date. */
function panel(state) {
  const place = document.getElementById("upload");
  const line = h("p", { role: "status", "aria-live": "polite" });
  const size = h("span", { class: "muted number" });
  const list = h("ul", { class: "failures" });
  const more = h("p", { class: "muted" });
  const stop = button("Stop", () => {
    upload.isStopped = true;
    upload.request?.abort();
  });
  const close = button("Close", () => {
    place.hidden = true;
  });
  place.replaceChildren(
    h("div", { class: "bar" }, line, size, h("div", { class: "actions" }, stop, close)),
    list,
    more,
  );
  place.hidden = false;
  return () => {
    const verb = !state.isOver ? "Storing" : upload.isStopped ? "Stopped" : "Stored";
    line.textContent = `${verb}: ${count(state.stored, "file")} stored${state.failed ? `, ${state.failed} not` : ""}`;
    size.textContent = `${(state.bytes / 2 ** 20).toFixed(1)} MB`;
    for (const { path, reason } of state.failures.slice(list.childElementCount)) {
      list.append(h("li", {}, h("strong", {}, path), ": ", reason));
    }
    const unlisted = state.failed - state.failures.length;
    more.textContent = unlisted > 0 ? `and ${unlisted} more` : "";
    stop.hidden = state.isOver;
    close.hidden = !state.isOver;
  };
}
