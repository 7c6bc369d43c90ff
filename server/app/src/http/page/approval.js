// Who vouches for what: a SEG becomes exemplars, or leaves the bank.

import { api } from "./api.js";
import { count } from "./dicom.js";
import { action, confirmed, h, pause, problemBox } from "./dom.js";
import { forgetExemplars } from "./exemplars.js";

// Looks at the jobs that make exemplars, two a second, before the page goes on without them.
const MOST_TRIES = 240;
/** What it means to remove something from the bank. */
export const GONE = "No result is drawn from it any more. The SEG stays stored, and can be approved again.";

/** Takes a SEG, or one of its labels, out of the bank. */
export async function withdraw(segmentation, label) {
  const query = new URLSearchParams({ segmentation, ...(label ? { label } : {}) });
  await api(`/exemplars?${query}`, { method: "DELETE" });
  await followed();
}

/** Waits until the bank has followed what was said: jobs make exemplars, and take them out. */
async function followed() {
  for (let tries = 0; tries < MOST_TRIES; tries += 1) {
    const open = await Promise.all(
      ["queued", "running"].map((state) => api(`/jobs?kind=ingestion&state=${state}&limit=1`)),
    );
    if (open.every((jobs) => jobs.length === 0)) break;
    await pause(500);
  }
  forgetExemplars();
}

/** What the bank makes of a stored SEG, and the buttons to change that. */
export function approval(segmentation) {
  const state = h("p", { role: "status" }),
    told = h("div", {}),
    tools = h("div", { class: "actions" });
  const box = h("div", { class: "approval" }, state, tools, told);
  const look = async () => {
    const stored = await api(`/segmentations/${segmentation}`);
    state.textContent = words(stored);
    const isIn = stored.exemplars > 0;
    tools.replaceChildren(isIn ? remove : approve);
    if (!isIn && isComing(stored)) tools.replaceChildren();
  };
  const approve = action(
    "Approve as exemplar",
    told,
    async () => {
      await api("/exemplars", { method: "POST", json: { segmentation } });
      await look();
      await followed();
      await look();
    },
    { class: "primary" },
  );
  const remove = action(
    "Remove from the bank",
    told,
    async () => {
      if (!(await confirmed("Remove it from the bank?", GONE, "Remove"))) return;
      await withdraw(segmentation, null);
      await look();
    },
    { class: "danger" },
  );
  look().catch((problem) => told.replaceChildren(problemBox(problem)));
  return box;
}

/** Whether its exemplars are still to be made. */
const isComing = (stored) => stored.approved && !stored.withdrawn;

function words(stored) {
  if (stored.exemplars > 0)
    return `In the bank: ${count(stored.exemplars, "slice")} of it ${stored.exemplars === 1 ? "counts" : "count"}.`;
  if (stored.withdrawn) return "Taken out of the bank.";
  if (isComing(stored)) return "Approved. Its exemplars are being made.";
  const isAutomatic = stored.segments.every((segment) => segment.algorithm_type === "AUTOMATIC");
  return isAutomatic
    ? "Not in the bank: it was made automatically, and nobody has vouched for it."
    : "Not in the bank yet.";
}
