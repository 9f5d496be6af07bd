// The keyboard: / search, j k rows, x select, g fleet, w towns, m costs, t theme, ? help, and the letters that a row
// says its buttons have (data-key). Enter and Esc are the browser's own, because a row is a link
// and a dialog is a dialog.
import { turnTheme } from "./themes.js";

const links = () => [...document.querySelectorAll("[data-row] [data-row-link]")];
const activeRow = () => document.activeElement?.closest("[data-row]");
let place = -1; // of the row that was last looked at, for when it goes away

function look(at) {
  const all = links();
  if (!all.length) return;
  const next = all[Math.min(Math.max(at, 0), all.length - 1)];
  next.focus();
  next.scrollIntoView({ block: "nearest" });
}

function move(by) {
  const all = links();
  const row = activeRow();
  const at = row ? all.findIndex((link) => row.contains(link)) : by > 0 ? -1 : all.length;
  look(at + by);
}

document.addEventListener("focusin", (event) => {
  const row = event.target.closest("[data-row]");
  place = row ? links().findIndex((link) => row.contains(link)) : -1;
});
document.addEventListener("pointerdown", (event) => { if (!event.target.closest("[data-row]")) place = -1; });
// A row that was decided leaves the list; the next one is then the one looked at.
document.addEventListener("htmx:after:swap", () => {
  if (place >= 0 && (document.activeElement === document.body || !document.activeElement)) look(place);
});

const KEYS = {
  "/": () => document.getElementById("search")?.focus(),
  j: () => move(1),
  k: () => move(-1),
  x: () => activeRow()?.querySelector("[data-pick]")?.click(),
  g: () => location.assign("/"),
  p: () => location.assign("/pairing"),
  c: () => location.assign("/corrections"),
  m: () => location.assign("/costs"),
  w: () => location.assign("/towns"),
  t: turnTheme,
  "?": () => document.getElementById("keys").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const typing = event.target.closest?.("input:not([type=checkbox]), select, textarea");
  if (event.key === "Escape") {
    if (typing) event.target.blur();
    for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = false;
  }
  if (typing) return;
  const button = /^[a-z]$/.test(event.key) ? activeRow()?.querySelector(`[data-key="${event.key}"]:not(:disabled)`) : null;
  const act = button ? () => button.click() : KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});
