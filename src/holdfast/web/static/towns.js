// Towns: what their forms send, the words beside the scrubber while it is moved, and disclosures
// that stay open when the page is redrawn beneath them.
import { shape } from "./orders.js";

// A command line in words, as a shell splits it: by white space, with quotes.
const words = (text) => [...text.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map((found) => found[1] ?? found[2] ?? found[3]);
const linesOf = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

// A line is a task; "(after 1, 2)" at its end names the lines before it that it waits for.
function task(line) {
  const found = line.match(/^(.*?)\s*\(after ([\d,\s]+)\)$/);
  if (!found) return { title: line };
  return { title: found[1], depends_on: found[2].split(",").map((number) => Number(number) - 1) };
}

shape("sling", ({ title, body, rig, priority }, form) => ({
  title, rig, priority: Number(priority), ...(body ? { body } : {}),
  blocked_by: [...form.elements.blocked_by.selectedOptions].map((option) => option.value),
  held: form.elements.held.checked,
}));
shape("convoy", ({ title, rig, tasks }, form) => ({
  title, rig, tasks: linesOf(tasks ?? "").map(task), staged: form.elements.staged.checked,
}));
shape("rig", ({ name, repository, branch, token, gates, polecat, refinery }) => {
  const made = { name, repository, ...(branch ? { branch } : {}), ...(token ? { token } : {}) };
  const listed = linesOf(gates ?? "").map((line) => line.split(/:\s*(.*)/)).filter(([, command]) => command);
  if (listed.length) made.gates = Object.fromEntries(listed.map(([gate, command]) => [gate, { command: words(command) }]));
  const commands = Object.entries({ polecat, refinery }).filter(([, command]) => command);
  if (commands.length) made.commands = Object.fromEntries(commands.map(([role, command]) => [role, words(command)]));
  return made;
});
shape("town", ({ town_agents_max: most, attempts_max: tries, budget_day: day, merge_strategy: merges }, form) => ({
  town_agents_max: Number(most), attempts_max: Number(tries), merge_strategy: merges,
  budget_day: Math.round(Number(day ?? 0) * 1e6),
  code_review: form.elements.code_review.checked, repair: form.elements.repair.checked,
}));

document.addEventListener("input", ({ target }) => {
  if (!target.dataset?.times) return;
  const pair = target.dataset.times.split(" ").find((each) => each.startsWith(`${target.value}=`));
  const at = pair ? `, ${pair.split("=")[1].slice(0, 19).replace("T", " ")} UTC` : "";
  document.querySelector("[data-scrubber-state]").textContent = `Tick ${target.value}${at}`;
});

const open = new Set();
document.addEventListener("toggle", ({ target }) => {
  if (!target.matches?.("details[data-keeps]")) return;
  if (target.open) open.add(target.id);
  else if (target.isConnected) open.delete(target.id);
}, true);
document.addEventListener("htmx:before:swap", () => { kept = new Set(open); });
let kept = new Set();
document.addEventListener("htmx:after:swap", () => {
  for (const id of kept) {
    const at = document.getElementById(id);
    if (at && !at.open) at.open = true;
  }
});
