// The list of studies: search, pages, upload.

import { search } from "./api.js";
import { date, patient, text, values } from "./dicom.js";
import { button, field, h, problemBox, select, table } from "./dom.js";
import { choosers, uploads } from "./upload.js";

const PAGE = 25;
const MODALITIES = ["CT", "MR", "PT", "US", "CR", "DX", "MG", "XA", "NM", "OT"];
const FIELDS = ["PatientName", "PatientID", "StudyDescription"];
const COLUMNS = [
  ["Patient", "name"],
  ["ID", ""],
  ["Date", "number"],
  ["Modality", ""],
  ["Description", "long"],
  ["Series", "number right"],
  ["Images", "number right"],
];

export async function studies({ query, signal }) {
  const list = h("div", { class: "list", "aria-live": "polite" });
  const offset = Number(query.get("offset")) || 0;
  const load = async () => list.replaceChildren(...(await page(query, offset, signal)));
  await load();
  uploads.addEventListener("stored", () => load().catch((problem) => list.replaceChildren(problemBox(problem))), {
    signal,
  });
  document.addEventListener(
    "keydown",
    (event) => {
      const isTyping = event.target.closest("input, select, textarea, dialog");
      if (event.key !== "/" || isTyping) return;
      event.preventDefault();
      document.getElementById("search").elements.PatientName.focus();
    },
    { signal },
  );
  return h("section", {}, h("h1", {}, "Studies"), choosers(), form(query), list);
}

function form(query) {
  const input = (label, name, attributes = {}) =>
    field(label, h("input", { name, value: query.get(name) ?? "", autocomplete: "off", ...attributes }));
  const modality = select([["", "any"], ...MODALITIES.map((one) => [one, one])], query.get("Modality") ?? "", {
    name: "Modality",
  });
  const submit = (event) => {
    event.preventDefault();
    const entries = [...new FormData(event.target)].filter(([, value]) => value.trim());
    goTo(new URLSearchParams(entries));
  };
  return h(
    "form",
    { id: "search", class: "search", role: "search", "aria-label": "Studies", on: { submit } },
    input("Patient", "PatientName", { type: "search", "aria-keyshortcuts": "/" }),
    input("Patient ID", "PatientID", { type: "search" }),
    input("From", "from", { type: "date" }),
    input("To", "to", { type: "date" }),
    field("Modality", modality),
    input("Description", "StudyDescription", { type: "search" }),
    h(
      "div",
      { class: "actions" },
      h("button", { type: "submit", class: "primary" }, "Search"),
      [...query.keys()].length > 0 ? button("Clear", () => goTo(new URLSearchParams())) : null,
    ),
  );
}

function goTo(query) {
  const text = query.toString();
  location.hash = text ? `/studies?${text}` : "/studies";
}

/** What QIDO-RS is asked for: text anywhere in the value, dates as a range. */
function keys(query) {
  const asked = {
    includefield: "StudyDescription,NumberOfStudyRelatedSeries,NumberOfStudyRelatedInstances,ModalitiesInStudy",
  };
  for (const name of FIELDS) {
    const value = (query.get(name) ?? "").trim().replaceAll("*", "");
    if (value) asked[name] = `*${value}*`;
  }
  const [from, to] = ["from", "to"].map((name) => (query.get(name) ?? "").replaceAll("-", ""));
  if (from || to) asked.StudyDate = `${from}-${to}`;
  if (query.get("Modality")) asked.ModalitiesInStudy = query.get("Modality");
  return asked;
}

async function page(query, offset, signal) {
  const { found, more } = await search("/studies", { ...keys(query), limit: PAGE, offset }, { signal });
  if (found.length === 0 && offset === 0) {
    const isAsked = [...query.keys()].length > 0;
    return [
      h(
        "p",
        { class: "empty" },
        isAsked ? "No study is like that." : "No study is stored yet. Upload some, or drop them here.",
      ),
    ];
  }
  const go = (to) => () => {
    const next = new URLSearchParams(query);
    to > 0 ? next.set("offset", to) : next.delete("offset");
    goTo(next);
  };
  const pages = h(
    "nav",
    { class: "pages", "aria-label": "Pages of studies" },
    button("Previous", go(Math.max(0, offset - PAGE)), { disabled: offset === 0 }),
    h("span", { class: "number" }, found.length ? `${offset + 1} to ${offset + found.length}` : "no more"),
    button("Next", go(offset + PAGE), { disabled: !more }),
  );
  return [table("Studies", COLUMNS, found.map(row)), pages];
}

function row(study) {
  return [
    h("a", { class: "whole", href: `#/studies/${text(study, "StudyInstanceUID")}` }, patient(study)),
    text(study, "PatientID"),
    date(text(study, "StudyDate")),
    values(study, "ModalitiesInStudy").join(" "),
    text(study, "StudyDescription"),
    text(study, "NumberOfStudyRelatedSeries"),
    text(study, "NumberOfStudyRelatedInstances"),
  ];
}
