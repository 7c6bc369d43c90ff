// Requests to this server, and what can be wrong with them.

const DICOM_JSON = "application/dicom+json";
const TITLES = { 401: "Not known", 403: "Not allowed", 404: "Not there", 503: "Too busy" };
const FIRST_PAUSE = 1000,
  LONGEST_PAUSE = 5000;

/** What went wrong, as the API tells it. */
export class Problem extends Error {
  constructor(status, { code, message, what_to_do } = {}) {
    super(message ?? `the server answered ${status}`);
    this.status = status;
    this.title = TITLES[status];
    this.code = code ?? `status_${status}`;
    this.what_to_do = what_to_do ?? "";
  }
}

/** Whether the server answers; fires `down` and `up`. */
export const connection = Object.assign(new EventTarget(), { isDown: false });

function unreachable() {
  const problem = new Problem(0, {
    code: "server_down",
    message: "the server does not answer",
    what_to_do: "It is asked again every few seconds, and this page goes on when it is back.",
  });
  problem.title = "No connection";
  return problem;
}

/** Says that the server does not answer, and asks until it does. */
export function lost() {
  if (!connection.isDown) {
    connection.isDown = true;
    connection.dispatchEvent(new Event("down"));
    lookAgain(FIRST_PAUSE);
  }
  return unreachable();
}

function lookAgain(pause) {
  setTimeout(async () => {
    try {
      await fetch("/api/v1/health", { cache: "no-store" });
    } catch {
      return lookAgain(Math.min(pause * 1.5, LONGEST_PAUSE));
    }
    connection.isDown = false;
    connection.dispatchEvent(new Event("up"));
  }, pause);
}

/** The answer to a request; a `Problem` is thrown where it is none that was hoped for. */
export async function ask(path, { json, headers, ...options } = {}) {
  const body = json === undefined ? {} : { body: JSON.stringify(json) };
  const content = json === undefined ? {} : { "Content-Type": "application/json" };
  let answer;
  try {
    answer = await fetch(path, { ...options, ...body, headers: { ...content, ...headers } });
  } catch (error) {
    throw error.name === "AbortError" ? error : lost();
  }
  if (answer.ok) return answer;
  throw await problemOf(answer);
}

/** What a bad answer says. */
async function problemOf(answer) {
  try {
    return new Problem(answer.status, await answer.json());
  } catch {
    return new Problem(answer.status);
  }
}

/** JSON of `/api/v1`; null where an answer has none. */
export async function api(path, options) {
  const answer = await ask(`/api/v1${path}`, options);
  return answer.headers.get("Content-Type")?.startsWith("application/json") ? answer.json() : null;
}

/** QIDO-RS: the data sets found, and whether there are more. */
export async function search(path, parameters, options = {}) {
  const query = new URLSearchParams(parameters);
  const answer = await ask(`/dicomweb${path}?${query}`, { ...options, headers: { Accept: DICOM_JSON } });
  const found = answer.status === 204 ? [] : await answer.json();
  return { found, more: answer.headers.has("Warning") };
}

/** Everything that QIDO-RS finds, page after page. */
export async function searchAll(path, parameters, options) {
  const all = [];
  for (;;) {
    const { found, more } = await search(path, { ...parameters, limit: 1000, offset: all.length }, options);
    all.push(...found);
    if (!more || found.length === 0) return all;
  }
}

/** The path of a study, series or instance in DICOMweb. */
export function place(study, series, instance) {
  const parts = ["/dicomweb/studies", study, series && "series", series, instance && "instances", instance];
  return parts.filter(Boolean).join("/");
}

/** Tells of a job until it has ended, whatever happens to the connection meanwhile. */
export async function watchJob(id, tell, signal) {
  let job = await api(`/jobs/${id}`, { signal });
  tell(job);
  while (!isOver(job) && !signal.aborted) {
    await new Promise((resolve) => {
      const events = new EventSource(`/api/v1/jobs/${id}/events`);
      const done = () => {
        events.close();
        resolve();
      };
      const hear = (event) => {
        job = JSON.parse(event.data);
        tell(job);
        if (isOver(job)) done();
      };
      ["state", "stage", "progress"].forEach((kind) => events.addEventListener(kind, hear));
      events.addEventListener("error", done);
      signal.addEventListener("abort", done, { once: true });
    });
    if (isOver(job) || signal.aborted) break;
    await new Promise((resolve) => setTimeout(resolve, FIRST_PAUSE));
    try {
      job = await api(`/jobs/${id}`, { signal });
      tell(job);
    } catch (problem) {
      if (problem.code !== "server_down") throw problem;
    }
  }
  return job;
}

/** Whether a job has ended. */
export const isOver = (job) => ["succeeded", "failed", "cancelled"].includes(job.state);

let known = null;

/** What the server is and has; asked once. */
export async function health() {
  known ??= await api("/health");
  return known;
}
