// Selecting rows and ordering many at once. The selection outlives the redrawing of rows.
import { send } from "./orders.js";
import { toast } from "./toasts.js";

const picked = new Set();
const boxes = () => [...document.querySelectorAll("[data-pick]")];

function show() {
  const all = boxes();
  const present = new Set(all.map((box) => box.value));
  for (const id of picked) if (!present.has(id)) picked.delete(id);
  for (const box of all) {
    box.checked = picked.has(box.value);
    box.closest("[data-row]").toggleAttribute("data-picked", box.checked);
  }
  const bar = document.querySelector("[data-bulk]");
  if (!bar) return;
  bar.hidden = picked.size === 0;
  bar.querySelector("[data-bulk-count]").textContent = picked.size;
  const head = document.querySelector("[data-pick-all]");
  head.checked = all.length > 0 && picked.size === all.length;
  head.indeterminate = picked.size > 0 && picked.size < all.length;
}

async function order(verb) {
  const ids = [...picked];
  const result = await send("POST", `/api/instances/bulk/${verb}`, { ids });
  if (!result.ok) return toast("bad", result.body.message ?? "That did not work.", result.body.fix);
  const refused = result.body.items.filter((item) => item.result === "refused" || item.result === "missing");
  const taken = ids.length - refused.length;
  if (taken) toast("ok", `${verb === "start" ? "Start" : "Stop"}: ${taken} of ${ids.length} accepted`);
  if (refused.length) toast("warn", `${refused.length} refused`, [...new Set(refused.map((item) => item.message || item.code))].slice(0, 3).join(" · "));
  picked.clear();
  show();
}

document.addEventListener("change", (event) => {
  const at = event.target;
  if ("pickAll" in at.dataset) for (const box of boxes()) at.checked ? picked.add(box.value) : picked.delete(box.value);
  else if ("pick" in at.dataset) at.checked ? picked.add(at.value) : picked.delete(at.value);
  else return;
  show();
});
document.addEventListener("click", (event) => {
  const at = event.target.closest("[data-bulk-order], [data-bulk-clear]");
  if (!at) return;
  if (at.dataset.bulkOrder) order(at.dataset.bulkOrder);
  else { picked.clear(); show(); }
});
document.addEventListener("htmx:after:swap", show);
