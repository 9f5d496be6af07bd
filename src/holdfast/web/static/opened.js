// Opens what a node sealed, in this browser, and shows it: log lines, memory files, cron jobs and
// sessions. Rows come as they are stored; here they are opened, put in order and searched, and nothing
// that was opened, nor a word that is searched for, is sent anywhere.
import { TooLargeError, isCut, make, markOpened } from "./opened_rows.js";
import { opener } from "./sealed.js";
import { isAsBad, drawCron, drawLogs, drawMemory, drawSessions, nameSessions } from "./opened_views.js";

const PAGE_ROWS = 100; // sealed uploads of one request
const PAGES_AT_ONCE = 5; // requests before a person asks for more
const KINDS = { logs: ["logs", drawLogs], memory: ["memory", drawMemory], cron: ["metadata", drawCron], sessions: ["metadata", drawSessions] };

const LISTS = ["lines", "memory_content", "events", "sessions"];

const place = document.querySelector("[data-unseals]");
const state = { bodies: new Map(), next: "", unopened: 0, cut: 0, open: null, failure: "" };

async function page(node, of, after, limit = PAGE_ROWS, session = "") {
  const query = new URLSearchParams({ of, limit, ...(after && { after }), ...(session && { session }) });
  const answer = await fetch(`/api/nodes/${encodeURIComponent(node)}/sealed?${query}`, { headers: { accept: "application/json" } });
  if (!answer.ok) throw new Error(`The plane did not give what is sealed: HTTP ${answer.status}.`);
  return answer.json();
}

// Opens the rows of a page that are new; returns whether there were any.
async function take(rows) {
  let fresh = 0;
  for (const row of rows) {
    if (state.bodies.has(row.id)) continue;
    fresh += 1;
    try {
      const body = await state.open(row.blob);
      state.bodies.set(row.id, { id: row.id, at: row.at, body });
      if (LISTS.some((name) => isCut(body, name))) state.cut += 1;
    } catch (error) {
      state.bodies.set(row.id, null);
      if (error instanceof TooLargeError) state.cut += 1;
      else state.unopened += 1;
    }
  }
  return fresh > 0;
}

// Reads newer rows until one is known; from a cursor on, older ones.
async function read(node, of, from = "") {
  let after = from;
  for (let asked = 0; asked < PAGES_AT_ONCE; asked += 1) {
    const found = await page(node, of, after);
    const isNew = await take(found.items);
    if (from || !state.started || isNew) state.next = from || !state.started ? found.next : state.next;
    after = found.next;
    if (!after || (!isNew && state.started)) break;
  }
  state.started = true;
}

const opened = () => [...state.bodies.values()].filter(Boolean).sort((a, b) => (a.at < b.at ? 1 : -1));
const filter = () => ({ text: document.getElementById("search")?.value ?? "", level: document.getElementById("level")?.value ?? "" });

function draw(kind) {
  const [of, view] = KINDS[kind];
  const rows = opened();
  place.replaceChildren();
  const note = make("p", "muted small");
  note.setAttribute("role", "status");
  place.append(note);
  let said = "", unshown = "";
  try { said = view(place, rows, filter()); } catch (error) { unshown = ` Not all of them can be shown: ${error.message}.`; }
  markOpened(place.querySelectorAll("[data-row], .opened-file"));
  const cut = state.cut ? ` Cut, as too large for a page: ${state.cut}; loaded anew, it opens the newest.` : "";
  const cannot = state.unopened ? ` ${state.unopened} are sealed with a key that this browser does not hold.` : "";
  note.textContent = `Opened in this browser, uploads: ${rows.length}${said ? `, ${said}` : ""}.${cannot}${cut}${unshown}${state.failure}`;
  if (!state.next) return;
  const more = make("button", "button", "Open older ones");
  more.type = "button";
  more.addEventListener("click", async () => {
    more.disabled = true;
    await attempt(() => read(place.dataset.node, of, state.next));
    draw(kind);
  });
  place.append(more);
}

async function attempt(work) {
  state.failure = "";
  try { await work(); } catch (error) { state.failure = ` ${error.message}`; }
}

// Hides lines in the clear that are not searched for: the plane, which drew them, does not know what is.
function hideClear() {
  const { text, level } = filter();
  const wanted = text.toLowerCase();
  for (const row of document.querySelectorAll("#logs > .log-row")) {
    const said = [...row.querySelectorAll(".log-line")].some((line) => line.textContent.toLowerCase().includes(wanted));
    row.hidden = !said || !isAsBad(row.querySelector(".log-level").textContent.trim(), level);
  }
}

// What is searched here stays here: the form's own request would tell the plane.
function searchHere(kind) {
  const form = document.querySelector("form[role=search]");
  const here = (event) => {
    event.stopImmediatePropagation();
    if (event.type === "submit") event.preventDefault();
    draw(kind);
    hideClear();
  };
  for (const name of ["input", "change", "keyup", "search", "submit"]) form?.addEventListener(name, here, true);
}

const sealedRows = () => document.querySelector("[data-sealed-rows]")?.dataset.sealedRows ?? "";

async function begin() {
  const { unseals: kind, node } = place.dataset;
  const [of] = KINDS[kind];
  try { state.open = await opener(node); } catch { return; } // the page says how a browser gets a key
  if (!state.open) return;
  searchHere(kind);
  const one = (session) => page(node, "transcripts", "", 1, session).then(({ items }) => (items[0] ? state.open(items[0].blob) : null));
  const again = async () => {
    await attempt(() => read(node, of));
    draw(kind);
    if (kind === "sessions") await nameSessions(opened(), one);
  };
  await again();
  let known = sealedRows();
  document.addEventListener("htmx:after:swap", () => {
    if (kind === "logs") hideClear();
    if (kind === "sessions") nameSessions(opened(), one);
    if (sealedRows() === known) return;
    known = sealedRows();
    again();
  });
}

if (place) begin();
