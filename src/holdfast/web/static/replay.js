// A sealed session, turn by turn: opened and searched in this page, and nothing of it sent.
import { ROWS_MAX, isCut, make, markOpened } from "./opened_rows.js";
import { opener } from "./sealed.js";
import { turnsOf } from "./turns.js";

const list = document.querySelector("[data-replay]");
const note = document.getElementById("replay-note");
const search = document.getElementById("replay-search");
const found = document.getElementById("replay-found");

function rowOf(turn) {
  const row = make("li");
  const head = make("p");
  head.append(make("b", "", turn.who));
  if (turn.tool) head.append(" ", make("code", "", turn.tool));
  if (turn.at) {
    const at = new Date(turn.at);
    head.append(" ", make("span", "muted small", Number.isNaN(at.getTime()) ? turn.at : at.toLocaleString()));
  }
  row.append(head, make("p", "log-line", turn.text));
  return row;
}

// Shows at most `room` turns of a sealed row; returns how many there are, and whether some were cut.
async function openRow(row, open, room) {
  try {
    const body = await open(row.dataset.sealed);
    const turns = turnsOf(body);
    const rows = turns.slice(0, room).map(rowOf);
    markOpened(rows);
    row.replaceWith(...rows);
    return { shown: rows.length, cut: isCut(body, "events") || rows.length < turns.length };
  } catch (error) {
    row.querySelector("[data-state]").textContent = row.hasAttribute("data-cut")
      ? "Sealed, and too long for a page: an export has all of it." : `Sealed. ${error.message}`;
    return { shown: 0, cut: false };
  }
}

function look() {
  const words = search.value.trim().toLocaleLowerCase();
  const rows = [...list.querySelectorAll("[data-opened]")];
  for (const row of rows) row.hidden = words !== "" && !row.textContent.toLocaleLowerCase().includes(words);
  found.textContent = words ? `${rows.filter((row) => !row.hidden).length} of ${rows.length} turns` : "";
}

async function replay() {
  const rows = [...list.querySelectorAll("[data-sealed]")];
  if (!rows.length) return;
  const open = await opener(list.dataset.node);
  if (!open) return; // the page says already what to do
  let turns = 0, cut = false;
  for (const row of rows) {
    if (turns >= ROWS_MAX) { cut = true; break; }
    const opened = await openRow(row, open, ROWS_MAX - turns);
    turns += opened.shown;
    cut ||= opened.cut;
  }
  note.textContent = `Opened in this browser: ${turns} turns, with a bar beside them. Nothing of it leaves the page.`
    + (cut ? " Cut: a page shows no more of them." : "");
  search.closest("[data-search]").hidden = turns === 0;
  search.addEventListener("input", look);
}

replay().catch((error) => { note.textContent = error.message; });
