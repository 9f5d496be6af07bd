// Samples of what a node would send, before any yes: asked for by a key of this page, and opened here.
import { PREVIEW, fromBase64url, makePageKey, openFrom, toBase64url } from "./browser_keys.js";
import { send } from "./orders.js";
import { listOf } from "./opened_rows.js";
import { opener } from "./sealed.js";

const root = document.getElementById("samples");
const node = root?.dataset.node;
const state = document.getElementById("samples-state");
const shown = document.getElementById("samples-shown");
const ASK_MS = 1000;
const WAIT_MS = 75_000; // its minute, and the way

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function element(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function keysLink(text) {
  const link = element("a", "Keys of this node");
  link.href = `/nodes/${encodeURIComponent(node)}/keys`;
  state.replaceChildren(text, " ", link);
}

const sizeOf = (bytes) => (bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : bytes >= 1e3 ? `${(bytes / 1e3).toFixed(1)} kB` : `${bytes} B`);

function draw(told) {
  const rows = listOf(told, "classes").map((one) => {
    const part = element("details", "");
    const samples = listOf(one, "samples");
    part.open = samples.length > 0;
    const counted = `${one.content}: ${one.items.toLocaleString()} items of ${one.sources.toLocaleString()} sources, ${sizeOf(one.size)}`;
    part.append(element("summary", one.whole ? counted : `${counted}, and more that was not counted`));
    part.append(...samples.map((text) => element("p", text, "log-line")));
    return part;
  });
  shown.replaceChildren(...rows);
}

async function carried(holder) {
  const ends = performance.now() + WAIT_MS;
  while (performance.now() < ends) {
    const answer = await fetch(`/api/nodes/${encodeURIComponent(node)}/samples`);
    if (!answer.ok) throw new Error(`The plane did not give the samples: HTTP ${answer.status}.`);
    const { sealed } = await answer.json();
    // What opens is this page's; before it comes there may be another page's.
    const opened = sealed ? await openFrom(holder, PREVIEW, node, sealed).catch(() => null) : null;
    if (opened) return new TextDecoder().decode(opened);
    await pause(ASK_MS);
  }
  throw new Error("No samples came in their minute. The machine may be off, or its observer not running.");
}

async function show() {
  const open = await opener(node);
  if (!open) return keysLink("Samples are sealed as everything is, and this browser does not open this node yet.");
  const holder = await makePageKey();
  state.textContent = "Asking the machine…";
  const asked = await send("POST", `/api/consent/nodes/${encodeURIComponent(node)}/preview`, { public_key: toBase64url(holder.point) });
  if (!asked.ok) throw new Error([asked.body.message, asked.body.fix].filter(Boolean).join(" "));
  draw(await open(await carried(holder)));
  state.textContent = "Opened in this browser. Nothing of it was stored, and nothing else was sent.";
}

root?.querySelector("#samples-ask").addEventListener("click", async (event) => {
  event.target.disabled = true;
  try {
    await show();
  } catch (error) {
    state.textContent = error.message;
  }
  event.target.disabled = false;
});
