// The frame of the page: places, routes, theme, connection.

import { api, connection, health } from "./api.js";
import { bank } from "./bank.js";
import { count } from "./dicom.js";
import { h, problemBox, repeat } from "./dom.js";
import { jobs } from "./jobs.js";
import { outgoing } from "./outgoing.js";
import { result } from "./result.js";
import { series } from "./series.js";
import { server } from "./server.js";
import { studies } from "./studies.js";
import { study } from "./study.js";
import { takeDrops } from "./upload.js";

const PLACES = [
  ["studies", "Studies"],
  ["bank", "Bank"],
  ["jobs", "Jobs"],
  ["outgoing", "Outgoing"],
  ["server", "Server"],
];

// What the address's fragment says after its `#`: a path to a view. UIDs and ids in it begin with a letter or digit, so
// that none is a step up in a path of the server.
const ROUTES = [
  [/^\/studies$/, "studies", studies],
  [/^\/studies\/(\w[\w.-]*)$/, "studies", study],
  [/^\/series\/(\w[\w.-]*)\/(\w[\w.-]*)$/, "studies", series],
  [/^\/results\/(\w[\w.-]*)$/, "studies", result],
  [/^\/bank$/, "bank", bank],
  [/^\/jobs$/, "jobs", jobs],
  [/^\/outgoing$/, "outgoing", outgoing],
  [/^\/server$/, "server", server],
];

const main = document.getElementById("main");
let leave = new AbortController();
let isBroken = false;

/** Shows what the address names. A view is given the path's variable segments, the query, and a signal of its end. */
async function show(isFirst) {
  const [path, query = ""] = (location.hash.slice(1) || "/studies").split("?");
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const [pattern, where, view] = ROUTES.find(([pattern]) => pattern.test(path)) ?? [null, "", nowhere];
  markPlace(where);
  isBroken = false;
  main.setAttribute("aria-busy", "true");
  let content;
  try {
    const names = pattern ? path.match(pattern).slice(1) : [];
    content = await view({ names, query: new URLSearchParams(query), signal });
  } catch (problem) {
    if (signal.aborted) return;
    isBroken = problem.code === "server_down";
    content = h(
      "section",
      {},
      h("h1", {}, "Engram"),
      problemBox(problem, () => show()),
    );
  }
  if (signal.aborted) return;
  main.replaceChildren(content);
  main.removeAttribute("aria-busy");
  const heading = main.querySelector("h1");
  document.title = heading ? `${heading.textContent} – Engram` : "Engram";
  if (isFirst) return;
  heading?.setAttribute("tabindex", "-1");
  heading?.focus({ preventScroll: true });
  scrollTo(0, 0);
}

function nowhere() {
  return h("section", {}, h("h1", {}, "Nothing here"), h("p", {}, h("a", { href: "#/studies" }, "To the studies")));
}

function markPlace(where) {
  document
    .getElementById("places")
    .replaceChildren(
      ...PLACES.map(([name, title]) =>
        h("a", { href: `#/${name}`, "aria-current": name === where ? "page" : null }, title),
      ),
    );
}

function showConnection() {
  const banner = document.getElementById("connection");
  banner.replaceChildren(
    ...(connection.isDown
      ? [h("p", { class: "problem" }, h("strong", {}, "No connection. "), "The server does not answer. Asking again …")]
      : []),
  );
}

function theme() {
  const root = document.documentElement;
  const tell = () => {
    const isDark = root.dataset.theme === "dark";
    const switcher = document.getElementById("theme");
    switcher.textContent = isDark ? "Light" : "Dark";
    switcher.setAttribute("aria-label", isDark ? "Light theme" : "Dark theme");
  };
  root.dataset.theme = localStorage.getItem("theme") ?? "dark";
  tell();
  document.getElementById("theme").addEventListener("click", () => {
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
    tell();
  });
}

/** How many jobs there are to do, in the corner. */
async function showActivity() {
  const corner = document.getElementById("activity");
  try {
    const { jobs_running: running, jobs_waiting: waiting } = await api("/health");
    const busy = (running ?? 0) + (waiting ?? 0);
    corner.hidden = busy === 0;
    corner.textContent = count(busy, "job");
  } catch {
    corner.hidden = true;
  }
}

connection.addEventListener("down", showConnection);
connection.addEventListener("up", () => {
  showConnection();
  if (isBroken) show();
});
addEventListener("hashchange", () => show());
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
theme();
takeDrops();
show(true);
repeat(showActivity, () => 5, new AbortController().signal);
health().then(
  (about) => {
    document.getElementById("viewer").hidden = !about.viewer;
  },
  () => {},
);
