// Elements, made of plain text only: nothing that comes from the server ever becomes markup.

/** An element. `properties`: `class`, `on` with listeners, `data`, and attributes; false or null leaves one out. */
export function h(name, properties, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (key === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (key === "data") {
      Object.assign(element.dataset, value);
    } else if (value === true) {
      element.setAttribute(key, "");
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(key, value);
    }
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

/** A button that does something. */
export function button(text, click, properties = {}) {
  return h("button", { type: "button", ...properties, on: { click } }, text);
}

/** A button that does something slow: it cannot be pressed again meanwhile, and what goes wrong stands in `told`. */
export function action(text, told, work, properties = {}) {
  return button(
    text,
    async (event) => {
      const pressed = event.currentTarget;
      pressed.disabled = true;
      told.replaceChildren();
      try {
        await work();
      } catch (problem) {
        told.replaceChildren(problemBox(problem));
      } finally {
        pressed.disabled = false;
      }
    },
    properties,
  );
}

/** A labelled field. */
export function field(label, control) {
  return h("label", { class: "field" }, h("span", {}, label), control);
}

/** A select. `options`: [value, text] each. */
export function select(options, chosen, properties = {}) {
  return h(
    "select",
    properties,
    options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)),
  );
}

/** A table. `columns`: [heading, class] each; a row is a list of cells' contents. */
export function table(caption, columns, rows) {
  const cells = (row) =>
    row.map((content, index) => {
      const [heading, kind] = columns[index];
      return h("td", { class: kind, data: { heading } }, content);
    });
  return h(
    "table",
    {},
    h("caption", { class: "unseen" }, caption),
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        columns.map(([heading, kind]) => h("th", { scope: "col", class: kind }, heading)),
      ),
    ),
    h(
      "tbody",
      {},
      rows.map((row) => h("tr", {}, cells(row))),
    ),
  );
}

/** Terms and what stands for them. */
export function facts(pairs) {
  return h(
    "dl",
    { class: "facts" },
    pairs
      .filter(([, value]) => value !== null && value !== undefined && value !== "")
      .map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))),
  );
}

/** What went wrong, word by word. */
export function problemBox(problem, retry) {
  return h(
    "div",
    { class: "problem", role: "alert" },
    h("p", {}, h("strong", {}, problem.title ?? "That did not work"), " ", h("code", {}, problem.code ?? "page_fault")),
    h("p", {}, problem.message),
    problem.what_to_do ? h("p", { class: "muted" }, problem.what_to_do) : null,
    retry ? button("Try again", retry) : null,
  );
}

/** Asks before something is lost, with fields where there is a choice; the answer is a promise of true or false. */
export function confirmed(question, explanation, yes, ...fields) {
  return new Promise((resolve) => {
    const dialog = h(
      "dialog",
      { class: "small", "aria-labelledby": "question" },
      h("h2", { id: "question" }, question),
      h("p", {}, explanation),
      fields,
      h(
        "div",
        { class: "actions end" },
        button("Cancel", () => dialog.close("no"), { autofocus: true }),
        button(yes, () => dialog.close("yes"), { class: "danger" }),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** A picture that says so where there is none. */
export function picture(source, alt, properties = {}) {
  const image = h("img", { src: source, alt, loading: "lazy", decoding: "async", ...properties });
  image.addEventListener("error", () =>
    image.replaceWith(h("span", { class: `${properties.class ?? ""} none` }, "no picture")),
  );
  return image;
}

/** Calls again and again, `seconds()` after each call has ended, until `signal` says stop; not while nobody looks. */
export async function repeat(work, seconds, signal) {
  while (!signal.aborted) {
    if (!document.hidden) await work();
    await pause(seconds() * 1000, signal);
  }
}

/** Waits. */
export function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}
