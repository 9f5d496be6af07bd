// Wires the page: each module does one thing and finds its own elements.
import "./toasts.js";
import "./orders.js";
import "./keys.js";
import "./live.js";
import "./fleet.js";
import "./inbox.js";
import "./charts.js";
import { turnTheme } from "./themes.js";

document.addEventListener("click", (event) => {
  const at = event.target.closest("[data-theme-toggle], [data-keys-open], [data-opens], [data-closes]");
  if (!at) {
    for (const menu of document.querySelectorAll("details.menu[open]"))
      if (!menu.contains(event.target)) menu.open = false;
    return;
  }
  if ("themeToggle" in at.dataset) turnTheme();
  if ("keysOpen" in at.dataset) document.getElementById("keys").showModal();
  if (at.dataset.opens) document.querySelector(at.dataset.opens).showModal();
  if ("closes" in at.dataset) at.closest("dialog").close();
});

// The log follows its end until its reader scrolls up.
document.addEventListener("htmx:after:swap", () => {
  const log = document.querySelector("[data-log]");
  if (log && document.querySelector("[data-log-follow]")?.checked) log.scrollTop = log.scrollHeight;
});
// A live feed drops its oldest, and its word of being empty.
document.addEventListener("htmx:after:swap", () => {
  const feed = document.querySelector("[data-feed]");
  if (!feed) return;
  if (feed.children.length > 1) document.getElementById("feed-none")?.remove();
  while (Number(feed.dataset.feed) && feed.children.length > Number(feed.dataset.feed)) feed.lastElementChild.remove();
});
document.querySelector("[data-log]")?.addEventListener("wheel", (event) => {
  if (event.deltaY < 0) document.querySelector("[data-log-follow]").checked = false;
}, { passive: true });
