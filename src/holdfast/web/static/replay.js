// A sealed session, turn by turn: opened and searched in this page, and nothing of it sent.
import { opener } from "./sealed.js";
import { turnsOf } from "./turns.js";

const list = document.querySelector("[data-replay]");
const note = document.getElementById("replay-note");
const search = document.getElementById("replay-search");
const found = document.getElementById("replay-found");

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

function rowOf(turn) {
  const row = element("li", "", "");
  row.dataset.opened = "";
  const head = element("p", "", "");
  head.append(element("b", "", turn.who));
  if (turn.tool) head.append(" ", element("code", "", turn.tool));
  if (turn.at) {
    const at = new Date(turn.at);
    head.append(" ", element("span", "muted small", Number.isNaN(at.getTime()) ? turn.at : at.toLocaleString()));
  }
  row.append(head, element("p", "log-line", turn.text));
  return row;
}

async function openRow(row, open) {
  try {
    const turns = turnsOf(await open(row.dataset.sealed));
    row.replaceWith(...turns.map(rowOf));
    return turns.length;
  } catch (error) {
    row.querySelector("[data-state]").textContent = row.hasAttribute("data-cut")
      ? "Sealed, and too long for a page: an export has all of it." : `Sealed. ${error.message}`;
    return 0;
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
  let turns = 0;
  for (const row of rows) turns += await openRow(row, open);
  note.textContent = `Opened in this browser: ${turns} turns. Nothing of it leaves the page.`;
  search.closest("[data-search]").hidden = turns === 0;
  search.addEventListener("input", look);
}

replay().catch((error) => { note.textContent = error.message; });
