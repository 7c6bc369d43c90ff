// Other archives that the server knows by name.

import { api } from "./api.js";
import { action, h, table } from "./dom.js";

export async function nodes(signal) {
  const known = await api("/nodes", { signal });
  if (known.length === 0) return h("p", { class: "muted" }, "No node is configured.");
  return table(
    "Nodes",
    [
      ["Node", "name"],
      ["AE title", ""],
      ["Address", ""],
      ["Is it there?", ""],
    ],
    known.map(row),
  );
}

function row(node) {
  const told = h("div", { role: "status" });
  const ask = action("Ask", told, async () => {
    const { status } = await api(`/nodes/${encodeURIComponent(node.name)}/echo`, { method: "POST" });
    told.replaceChildren(status === 0 ? "It answers." : `It answers with status ${status}.`);
  });
  return [node.name, node.ae_title, node.tls ? `${node.address}, TLS` : node.address, h("div", {}, ask, told)];
}
