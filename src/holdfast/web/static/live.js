// Says whether the page is live, and keeps "4 s ago" true while time passes.
const WORDS = { live: "live", connecting: "connecting", reconnecting: "reconnecting", ended: "ended" };

function mark(state) {
  for (const element of document.querySelectorAll("[data-live-mark]")) {
    if (element.dataset.state === state) continue;
    element.dataset.state = state;
    element.querySelector("[data-live-text]").textContent = WORDS[state];
  }
}

// While a button is held down nothing is redrawn: what moves or is replaced between press and
// release gets no click, and what the press was for is not done. A press that lasts is let go of.
const HELD_MAX_MS = 2_000;
let held = null;
function hold() {
  if (held) return;
  held = {};
  held.over = new Promise((resolve) => { held.release = resolve; });
  setTimeout(letGo, HELD_MAX_MS, held);
}
function letGo(press) {
  if (!press || press !== held) return;
  held = null;
  press.release();
}
const released = () => setTimeout(letGo, 0, held); // the click comes first: it is in the same task
addEventListener("pointerdown", hold);
addEventListener("keydown", ({ key }) => { if (key === " ") hold(); });
for (const end of ["pointerup", "pointercancel", "keyup", "blur"]) addEventListener(end, released);
document.addEventListener("htmx:sse:before:message", (event) => { if (held) event.detail.waitUntil(held.over); });

let gone = false;
document.addEventListener("htmx:sse:before:connection", (event) =>
  mark(event.detail.connection?.attempt > 0 ? "reconnecting" : "connecting"));
document.addEventListener("htmx:sse:after:connection", () => mark("live"));
document.addEventListener("htmx:sse:before:message", () => { if (!gone) mark("live"); });
document.addEventListener("htmx:sse:error", (event) => {
  if (event.detail.status === 401) location.assign(`/sign-in?next=${encodeURIComponent(location.pathname)}`);
  mark("reconnecting");
});
document.addEventListener("htmx:sse:close", (event) => {
  if (event.target.isConnected) mark(gone ? "ended" : "reconnecting");
});
document.addEventListener("gone", () => { gone = true; mark("ended"); });

const STEPS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

export function words(awayMs) {
  if (Math.abs(awayMs) < 1500) return "now";
  const seconds = Math.floor(Math.abs(awayMs) / 1000);
  const [step, unit] = STEPS.find(([size]) => seconds >= size) ?? [1, "s"];
  if (step === 86400 && seconds > 99 * 86400 && awayMs > 0) return null;
  const text = `${Math.floor(seconds / step)} ${unit}`;
  return awayMs > 0 ? `${text} ago` : `in ${text}`;
}

// The two largest units: "58 min 12 s".
export function left(leftMs) {
  if (leftMs <= 0) return "expired";
  const seconds = Math.floor(leftMs / 1000);
  const at = STEPS.findIndex(([size]) => seconds >= size);
  if (at < 0 || at === STEPS.length - 1) return `${seconds} s`;
  const [[step, unit], [finer, fineUnit]] = STEPS.slice(at);
  return `${Math.floor(seconds / step)} ${unit} ${Math.floor((seconds % step) / finer)} ${fineUnit}`;
}

function tick() {
  if (document.hidden) return;
  for (const element of document.querySelectorAll("time[data-until]")) {
    const text = left(Date.parse(element.dateTime) - Date.now());
    if (element.textContent !== text) element.textContent = text;
    if (text === "expired") element.closest("[data-row]")?.setAttribute("data-expired", "");
  }
  for (const element of document.querySelectorAll("time[data-relative]")) {
    const text = words(Date.now() - Date.parse(element.dateTime));
    if (text && element.textContent !== text) element.textContent = text;
  }
}
setInterval(tick, 1000);
document.addEventListener("visibilitychange", tick);
