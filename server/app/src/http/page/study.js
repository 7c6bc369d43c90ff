// A study: its series, what may be done with them, and what was made of them.

import { api, health, place, search, searchAll } from "./api.js";
import { count, date, isImage, moment, patient, text } from "./dicom.js";
import { action, button, facts, h, picture, repeat } from "./dom.js";
import { approval } from "./approval.js";
import { stateOf } from "./jobs.js";
import { askForSegmentation } from "./segment.js";
import { uploads } from "./upload.js";

export async function study({ names: [uid], signal }) {
  const [
    {
      found: [about],
    },
    { viewer },
  ] = await Promise.all([
    search("/studies", { StudyInstanceUID: uid, includefield: "StudyDescription,AccessionNumber" }, { signal }),
    health(),
  ]);
  if (!about) {
    return h("section", {}, h("h1", {}, "No such study"), h("p", {}, h("a", { href: "#/studies" }, "To the studies")));
  }
  const series = h("ul", { class: "cards" });
  const load = async () => series.replaceChildren(...(await cards(uid, signal)));
  await load();
  uploads.addEventListener("stored", () => load().catch(() => {}), { signal });
  const results = h("div", {});
  let before = "";
  repeat(
    async () => {
      const jobs = await jobsOf(uid).catch(() => []);
      results.replaceChildren(...list(jobs));
      // A result that has come is a series more.
      const now = jobs.map((job) => job.state).join();
      if (before && now !== before) await load().catch(() => {});
      before = now;
    },
    () => 3,
    signal,
  );
  return h(
    "section",
    {},
    h("p", { class: "trail" }, h("a", { href: "#/studies" }, "Studies")),
    h("h1", {}, patient(about)),
    facts([
      ["Patient ID", text(about, "PatientID")],
      ["Born", date(text(about, "PatientBirthDate"))],
      ["Sex", text(about, "PatientSex")],
      ["Study date", date(text(about, "StudyDate"))],
      ["Accession number", text(about, "AccessionNumber")],
      ["Description", text(about, "StudyDescription")],
    ]),
    viewer ? h("p", {}, h("a", { href: `/viewer/viewer?StudyInstanceUIDs=${uid}` }, "Open in OHIF")) : null,
    h("h2", {}, "Series"),
    series,
    results,
  );
}

async function cards(study, signal) {
  const found = await searchAll(
    `/studies/${study}/series`,
    { includefield: "SeriesDescription,NumberOfSeriesRelatedInstances" },
    { signal },
  );
  found.sort((a, b) => Number(text(a, "SeriesNumber")) - Number(text(b, "SeriesNumber")));
  return found.map((dataset) => card(study, dataset));
}

function card(study, dataset) {
  const uid = text(dataset, "SeriesInstanceUID"),
    modality = text(dataset, "Modality");
  const name = text(dataset, "SeriesDescription") || `Series ${text(dataset, "SeriesNumber")}`.trim();
  const href = `#/series/${study}/${uid}`;
  const told = h("div", {});
  const tools = h("div", { class: "actions" });
  if (isImage(modality)) {
    tools.append(
      action("Auto-segment", told, () => askForSegmentation({ study, series: uid, modality, name }), {
        class: "primary",
      }),
    );
  }
  if (modality === "SEG")
    tools.append(button("As exemplars", (event) => showApproval(event.currentTarget, study, uid, told)));
  return h(
    "li",
    { class: "card" },
    h(
      "a",
      { class: "picture", href, tabindex: "-1", "aria-hidden": "true" },
      picture(`${place(study, uid)}/thumbnail`, "", { class: "thumb" }),
    ),
    h(
      "div",
      {},
      h("h3", {}, h("a", { href }, name)),
      h(
        "p",
        { class: "muted" },
        [modality, count(Number(text(dataset, "NumberOfSeriesRelatedInstances")), "image")].filter(Boolean).join(", "),
      ),
      tools,
      told,
    ),
  );
}

/** What the bank makes of a SEG series, in place of the button that asked. */
async function showApproval(asked, study, series, told) {
  asked.disabled = true;
  const {
    found: [instance],
  } = await search(`/studies/${study}/series/${series}/instances`, { limit: 1 });
  told.replaceChildren(approval(text(instance, "SOPInstanceUID")));
}

async function jobsOf(study) {
  const jobs = await api("/segmentations");
  return jobs.filter((job) => job.request.study === study);
}

function list(jobs) {
  if (jobs.length === 0) return [];
  return [
    h("h2", {}, "Segmentations"),
    h(
      "ul",
      { class: "plain" },
      jobs.map((job) =>
        h("li", {}, h("a", { href: `#/results/${job.id}` }, moment(job.created_at)), " ", stateOf(job)),
      ),
    ),
  ];
}
