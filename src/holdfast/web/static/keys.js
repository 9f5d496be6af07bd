// The keyboard: / search, j k rows, x select, g fleet, t theme, ? help. Enter and Esc are the
// browser's own, because a row is a link and a dialog is a dialog.
import { turnTheme } from "./themes.js";

const links = () => [...document.querySelectorAll("[data-row] [data-row-link]")];

function move(by) {
  const all = links();
  if (!all.length) return;
  const row = document.activeElement?.closest("[data-row]");
  const at = row ? all.findIndex((link) => row.contains(link)) : by > 0 ? -1 : all.length;
  const next = all[Math.min(Math.max(at + by, 0), all.length - 1)];
  next.focus();
  next.scrollIntoView({ block: "nearest" });
}

const KEYS = {
  "/": () => document.getElementById("search")?.focus(),
  j: () => move(1),
  k: () => move(-1),
  x: () => document.activeElement?.closest("[data-row]")?.querySelector("[data-pick]")?.click(),
  g: () => location.assign("/"),
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
  const act = typing ? null : KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});
