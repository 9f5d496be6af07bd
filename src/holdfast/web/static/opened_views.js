// Draws what was opened in this browser. Everything is set as text: what an agent wrote is never HTML.
import { words } from "./live.js";
import { ROWS_MAX, listOf, make, numberOf, shortened, textOf } from "./opened_rows.js";

const LEVELS = ["trace", "debug", "info", "warn", "error", "fatal"];
const NAMES = { silly: "trace", verbose: "debug", notice: "info", warning: "warn", err: "error", critical: "fatal", panic: "fatal" };
const TONES = { trace: "off", debug: "off", info: "busy", warn: "warn", error: "bad", fatal: "bad" };
const RESULTS = { ok: "ok", success: "ok", error: "bad", failed: "bad", skipped: "off", running: "busy" };
const DIFF_CELLS = 4_000_000;
const FILE_LINES_MAX = 10_000; // of all versions of a file
const TIME_MS_MAX = 8.64e15; // of a Date (ECMAScript); beyond it toISOString throws
const SUBAGENT = ":subagent:";
const PARENTS = ["spawned_by", "spawnedBy", "parent_session_key", "parent_key"]; // as in content/views.py
const SCHEDULE_PARTS = ["kind", "expr", "everyMs", "at", "tz"]; // as in content/cron_jobs.py

function badge(text, tone) {
  const made = make("span", `badge ${tone}`);
  const dot = make("i", "dot");
  dot.setAttribute("aria-hidden", "true");
  made.append(dot, text);
  return made;
}

function when(at) {
  const ms = typeof at === "number" ? (at < 1e11 ? at * 1000 : at) : Date.parse(textOf(at));
  if (!(Math.abs(ms) <= TIME_MS_MAX)) return make("span", "muted", "–");
  const iso = new Date(ms).toISOString();
  const made = make("time", "", words(Date.now() - ms) ?? iso.slice(0, 10));
  made.dateTime = iso;
  made.title = `${iso.slice(0, 19).replace("T", " ")} UTC`;
  made.dataset.relative = "";
  return made;
}

function table(label, heads) {
  const made = make("table", "rows");
  made.setAttribute("aria-label", label);
  const row = make("tr");
  for (const head of heads) row.append(make("th", "", head));
  const top = make("thead");
  top.append(row);
  const body = make("tbody");
  made.append(top, body);
  const add = (cells) => {
    const line = make("tr");
    line.dataset.row = "";
    cells.forEach((cell, at) => {
      const made = make("td", at ? "" : "name");
      made.dataset.label = heads[at];
      made.append(cell);
      line.append(made);
    });
    body.append(line);
    return line;
  };
  return { made, add };
}

// ---- log lines

const known = (value) => { const name = String(value).toLowerCase(); return NAMES[name] ?? (LEVELS.includes(name) ? name : ""); };

function levelOf(line) {
  if (typeof line === "string") {
    const found = /\b(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|FATAL|CRITICAL|PANIC)\b|level="?(\w+)/.exec(line.slice(0, 200));
    return found ? known(found[1] ?? found[2]) : "";
  }
  for (const given of [line._meta?.logLevelName, line.level, line.severity]) {
    if (typeof given === "string" && known(given)) return known(given);
    if (typeof given === "number") return LEVELS[Math.floor(given / 10) - 1] ?? "";
  }
  return "";
}

// Whether a line is as bad as a level or worse; where no level is wanted, every line is.
export const isAsBad = (level, least) => LEVELS.indexOf(level) >= LEVELS.indexOf(least);

function messageOf(line) {
  if (typeof line === "string") return line;
  for (const name of ["message", "msg"]) if (typeof line[name] === "string") return line[name];
  const said = Array.from({ length: 16 }, (_, at) => line[at]).filter((one) => typeof one === "string" && !one.startsWith("{"));
  return said.join(" ") || JSON.stringify(line);
}

function unpacked(line) {
  const inner = line && typeof line === "object" && Object.keys(line).join() === "raw" ? line.raw : line;
  if (typeof inner !== "string" || !inner.startsWith("{")) return inner;
  try { return JSON.parse(inner); } catch { return inner; }
}

export function drawLogs(place, rows, { text, level }) {
  const seen = new Set();
  const lines = [];
  for (const { at, body } of rows)
    for (const given of listOf(body, "lines")) {
      const line = unpacked(given);
      const whole = typeof line === "string" ? line : JSON.stringify(line);
      if (line === null || seen.has(whole)) continue; // a line comes live and from its file
      seen.add(whole);
      const said = typeof line === "object" ? line.time ?? line.timestamp ?? line.ts ?? line.date : undefined;
      const ms = Date.parse(textOf(said) || at);
      lines.push({ ms: Number.isFinite(ms) ? ms : Date.parse(at), whole, line, level: levelOf(line) });
    }
  const wanted = text.toLowerCase();
  const found = lines
    .filter((one) => isAsBad(one.level, level) && (!wanted || one.whole.toLowerCase().includes(wanted)))
    .sort((a, b) => b.ms - a.ms);
  const list = make("ol", "log-rows");
  list.setAttribute("aria-label", "Opened log lines, newest first");
  for (const one of found.slice(0, ROWS_MAX)) {
    const row = make("li", "log-row");
    row.dataset.row = "";
    const at = make("span", "log-at");
    at.append(when(one.ms));
    const mark = make("span", "log-level");
    if (one.level) mark.append(badge(one.level, TONES[one.level]));
    const message = messageOf(one.line);
    let shown = make("span", "log-line", message);
    let link = shown;
    if (message !== one.whole) {
      shown = make("details");
      link = make("summary", "log-line", message);
      shown.append(link, make("pre", "log-line muted", one.whole));
    } else shown.tabIndex = -1;
    link.dataset.rowLink = "";
    row.append(at, mark, shown);
    list.append(row);
  }
  if (!found.length) list.append(make("li", "empty", "Nothing that was opened here matches."));
  place.append(list);
  const cut = found.length > ROWS_MAX ? `, the newest ${ROWS_MAX} of them shown` : "";
  return `${found.length} of ${lines.length} lines${cut}`;
}

// ---- memory files

// Lines that both versions have keep their order; a comparison that would be too large is not made.
export function changedLines(before, after) {
  const old = before.split("\n"), now = after.split("\n");
  let head = 0, tail = 0;
  while (head < old.length && head < now.length && old[head] === now[head]) head += 1;
  while (tail < old.length - head && tail < now.length - head && old.at(-1 - tail) === now.at(-1 - tail)) tail += 1;
  const a = old.slice(head, old.length - tail), b = now.slice(head, now.length - tail);
  const pieces = old.slice(0, head).map((line) => ["same", line]);
  if (a.length * b.length > DIFF_CELLS) pieces.push(...a.map((line) => ["removed", line]), ...b.map((line) => ["added", line]));
  else {
    const width = b.length + 1;
    const longest = new Uint32Array((a.length + 1) * width);
    for (let i = a.length - 1; i >= 0; i -= 1)
      for (let j = b.length - 1; j >= 0; j -= 1)
        longest[i * width + j] = a[i] === b[j]
          ? longest[(i + 1) * width + j + 1] + 1
          : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
    let i = 0, j = 0;
    while (i < a.length || j < b.length) {
      if (i < a.length && j < b.length && a[i] === b[j]) { pieces.push(["same", a[i]]); i += 1; j += 1; }
      else if (i < a.length && (j === b.length || longest[(i + 1) * width + j] >= longest[i * width + j + 1])) pieces.push(["removed", a[i++]]);
      else pieces.push(["added", b[j++]]);
    }
  }
  return [...pieces, ...old.slice(old.length - tail).map((line) => ["same", line])];
}

const MARKS = { same: "span", removed: "del", added: "ins" };

function difference(before, after, room) {
  const made = make("div", "memory-text");
  const pieces = before === null ? after.split("\n").map((line) => ["same", line]) : changedLines(before, after);
  if (pieces.length > room) pieces.splice(room, Infinity, ["same", "… (cut)"]);
  for (const [kind, line] of pieces)
    made.append(make(MARKS[kind], "", line || (kind === "same" ? "" : "¶")), "\n");
  return made;
}

export function drawMemory(place, rows) {
  const files = new Map();
  for (const { at, body } of [...rows].reverse())
    for (const file of listOf(body, "memory_content")) {
      if (typeof file?.path !== "string" || typeof file.content !== "string") continue;
      const content = shortened(file.content);
      const versions = files.get(file.path) ?? [];
      if (versions.at(-1)?.content !== content) versions.push({ at, content });
      files.set(file.path, versions);
    }
  const open = new Set([...place.ownerDocument.querySelectorAll("details.opened-file[open]")].map((one) => one.dataset.path));
  for (const path of [...files.keys()].sort().slice(0, ROWS_MAX)) {
    const versions = files.get(path);
    const made = make("details", "panel opened-file");
    made.dataset.path = path;
    made.open = open.has(path);
    const summary = make("summary");
    summary.append(make("b", "", path), ` ${versions.length} ${versions.length === 1 ? "version" : "versions"}, last `, when(versions.at(-1).at));
    made.append(summary);
    const fill = () => {
      if (!made.open || made.querySelector("section")) return;
      let room = FILE_LINES_MAX;
      for (let at = versions.length - 1; at >= 0 && room > 0; at -= 1) {
        const part = make("section");
        const title = make("h3");
        title.append(at ? "Changed " : "First known version ", when(versions[at].at));
        const text = difference(at ? versions[at - 1].content : null, versions[at].content, room);
        room -= text.childElementCount;
        part.append(title, text);
        made.append(part);
      }
    };
    made.addEventListener("toggle", fill);
    fill();
    place.append(made);
  }
  return `${files.size} files`;
}

// ---- cron jobs

// What a state says by the first of these names, as in content/cron_jobs.py.
const firstOf = (state, ...names) => names.map((name) => state?.[name]).find((value) => value !== undefined && value !== null);

// When a job runs, as its agent writes it; a schedule that is not text, by its parts.
function scheduleOf(data) {
  const given = data.expr || data.schedule;
  if (given === null || typeof given !== "object" || Array.isArray(given)) return textOf(given);
  return SCHEDULE_PARTS.map((name) => textOf(given[name])).filter(Boolean).join(" ");
}

export function drawCron(place, rows) {
  const jobs = new Map();
  for (const { body } of rows)
    for (const event of listOf(body, "events")) {
      const id = event?.data?.job_id;
      if (typeof id === "string" && id && !jobs.has(id)) jobs.set(id, event.data); // the newest comes first
    }
  if (!jobs.size) return "no cron job in them";
  const { made, add } = table("Opened cron jobs", ["Job", "Schedule", "Next run", "Last run", "Result", "Took"]);
  const shown = [...jobs].slice(0, ROWS_MAX).sort((a, b) => (textOf(a[1].name) || a[0]).localeCompare(textOf(b[1].name) || b[0]));
  for (const [id, data] of shown) {
    const { state } = data;
    const name = make("span", "", `${textOf(data.name) || id}${data.enabled === false ? " (switched off)" : ""}`);
    name.tabIndex = -1;
    name.dataset.rowLink = "";
    const result = textOf(firstOf(state, "lastStatus", "lastRunStatus", "last_status"));
    const took = numberOf(firstOf(state, "lastDurationMs", "last_duration_ms"));
    add([
      name,
      make("code", "", scheduleOf(data) || "–"),
      when(firstOf(state, "nextRunAtMs", "nextRunAt", "next_run_at")),
      when(firstOf(state, "lastRunAtMs", "lastRunAt", "last_run_at")),
      result ? badge(result, RESULTS[result] ?? "warn") : "–",
      Number.isFinite(took) ? `${(took / 1000).toFixed(1)} s` : "–",
    ]);
  }
  place.append(made);
  return `${jobs.size} jobs`;
}

// ---- sessions

function sessionsOf(rows) {
  const found = new Map();
  for (const { body } of rows)
    for (const one of listOf(body, "sessions"))
      if (typeof one?.session_id === "string" && !found.has(one.session_id)) found.set(one.session_id, one);
  return found;
}

function parentOf(one) {
  const said = PARENTS.map((name) => textOf(one[name])).find(Boolean);
  if (said) return said;
  const key = textOf(one.session_key);
  const at = key.lastIndexOf(SUBAGENT);
  if (at < 0) return "";
  const head = key.slice(0, at);
  return head.includes(SUBAGENT) || head.split(":").length > 2 ? head : `${head}:main`;
}

const titleOf = (one) => textOf(one.display_name) || textOf(one.session_key) || one.session_id;

export function drawSessions(place, rows) {
  const sessions = [...sessionsOf(rows).values()].slice(0, ROWS_MAX);
  if (!sessions.length) return "no session in them";
  const keys = new Set(sessions.map((one) => one.session_key).filter(Boolean));
  const below = new Map();
  for (const one of sessions) {
    const parent = keys.has(parentOf(one)) ? parentOf(one) : "";
    below.set(parent, [...(below.get(parent) ?? []), one]);
  }
  const { made, add } = table("Opened sessions", ["Session", "Channel", "Model", "Tokens", "Last"]);
  const seen = new Set();
  const walk = (parent, depth) => {
    for (const one of (below.get(parent) ?? []).sort((a, b) => numberOf(b.updated_at) - numberOf(a.updated_at))) {
      if (seen.has(one)) continue;
      seen.add(one);
      const name = make("span", "", `${depth ? "↳ " : ""}${titleOf(one)}`);
      name.tabIndex = -1;
      name.dataset.rowLink = "";
      name.dataset.openedSession = one.session_id;
      const tokens = numberOf(one.total_tokens);
      const row = add([name, textOf(one.channel) || "–", textOf(one.model) || "–", tokens ? tokens.toLocaleString("en") : "–", when(one.updated_at)]);
      row.firstElementChild.classList.add(`d${Math.min(depth, 4)}`);
      if (one.session_key) walk(one.session_key, depth + 1);
    }
  };
  walk("", 0);
  for (const one of sessions) if (!seen.has(one)) { below.set("", [one]); walk("", 0); } // of a circle
  place.append(made);
  return `${sessions.length} sessions`;
}

// The plane knows a sealed session by a name that says nothing: one upload of it says which it is.
const named = new Map();

export async function nameSessions(rows, one) {
  const sessions = sessionsOf(rows);
  for (const row of document.querySelectorAll("tr[data-session]")) {
    const { session } = row.dataset;
    if (!named.has(session)) {
      const body = await one(session).catch(() => null);
      named.set(session, textOf(body?.session_file).split(".jsonl")[0]);
    }
    const id = named.get(session);
    if (!id) continue;
    const link = row.querySelector("[data-row-link]");
    const about = sessions.get(id);
    if (link) link.textContent = about ? titleOf(about) : id;
    const opened = document.querySelector(`[data-opened-session="${CSS.escape(id)}"]`);
    if (opened && link && !opened.querySelector("a")) {
      const href = document.createElement("a");
      href.href = link.href;
      href.textContent = opened.textContent;
      opened.replaceChildren(href);
    }
  }
}
