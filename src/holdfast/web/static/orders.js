// Sends orders to the API and tells the result. Buttons: data-order, data-url, data-body,
// data-ask, data-done, data-then. Forms: data-api ("POST /path"), data-shape, data-typed, data-needs.
import { decided } from "./inbox.js";
import { later, toast } from "./toasts.js";

// What a change must repeat. It is told once, at signing in, and kept where the browser keeps it for
// this origin alone, port included; the cookie goes to every port.
const SECRET = "holdfast-change-secret";
const secret = () => { try { return localStorage.getItem(SECRET) ?? ""; } catch { return ""; } };
const keep = (told) => { try { localStorage.setItem(SECRET, told); } catch { /* a change will say so */ } };
const signIn = () => location.assign(`/sign-in?next=${encodeURIComponent(location.pathname)}`);
const key = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");

export async function send(method, url, body) {
  const headers = { accept: "application/json", "x-csrf-token": secret() };
  if (method !== "GET") headers["idempotency-key"] = key();
  if (method !== "GET" && method !== "DELETE") headers["content-type"] = "application/json";
  const options = { method, headers, credentials: "same-origin" };
  if (headers["content-type"]) options.body = JSON.stringify(body ?? {});
  let response;
  try {
    response = await fetch(url, options);
  } catch {
    return { ok: false, status: 0, body: { message: "The plane does not answer.", fix: "Look whether it runs; nothing may have been done." } };
  }
  const answer = response.headers.get("content-type")?.includes("json") ? await response.json() : {};
  if (response.ok && answer.csrf) keep(answer.csrf);
  if (response.status === 401 && !url.startsWith("/api/session/")) location.assign("/sign-in");
  if (response.status === 403 && answer.code === "csrf") signIn();
  return { ok: response.ok, status: response.status, body: answer };
}

// A page that is left cancels what is still being sent, and nobody is told whether it was done. So
// it is left when nothing is under way, and takes no press from then on until it is gone.
let underWay = 0;
let leaving = null;
const leave = (how) => { leaving ??= how; };
async function tracked(work) {
  underWay += 1;
  try {
    await work();
  } finally {
    underWay -= 1;
    if (leaving && !underWay) {
      document.body.inert = true;
      leaving();
    }
  }
}
addEventListener("pageshow", () => { leaving = null; document.body.inert = false; }); // gone back to

const complaint = ({ body }) => [body.message ?? "That did not work.", body.fix ?? ""];

function verdict({ ok, rows, broken_at: broken, reason }) {
  if (ok) toast("ok", "The chain of the audit holds", `${rows} rows, from the first to the last.`);
  else toast("bad", `The chain is broken at row ${broken}`, `Somebody changed the audit, or its file is damaged: ${reason}.`);
}

function settle(at, result) {
  const { body, status } = result;
  const [then = "", where = ""] = (at.dataset.then ?? "").split(/:(.*)/);
  if (then === "quiet") return;
  const done = at.dataset.done ?? "Done";
  if (then === "decided") decided(at.dataset.row ?? at.closest("[data-row]")?.id, status === 202 ? "under way…" : done);
  if (status === 202) {
    toast("busy", `${done}: accepted`, "It is safe and still under way.", { href: `/operations/${body.operation}`, text: "Follow it" });
  } else if (then === "verify") verdict(body);
  else if (then === "token") show(body.token ?? body.key);
  else if (then === "leave") leave(() => location.replace(body.url));
  else if (then === "go") {
    const to = where.replace("{id}", encodeURIComponent(body.id ?? ""));
    leave(() => location.assign(to));
  } else if (then === "reload") {
    later("ok", done);
    leave(() => location.reload());
  } else if (then === "press") {
    toast("ok", done);
    document.querySelector(where)?.click();
  } else toast("ok", body.name && body.status ? `${done}: ${body.name} is ${body.health?.code ?? body.status}` : done);
}

function show(token) {
  const box = document.getElementById("made-token");
  box.querySelector("[data-secret]").textContent = token;
  box.hidden = false;
  box.scrollIntoView({ block: "nearest" });
}

async function press(button) {
  if (button.dataset.ask && !confirm(button.dataset.ask)) return;
  if (button.ariaBusy) return; // not `disabled`: a live update may set that in the meantime
  button.ariaBusy = "true";
  const body = button.dataset.body ? JSON.parse(button.dataset.body) : {};
  const result = await send(button.dataset.order, button.dataset.url, body);
  button.ariaBusy = null;
  if (result.ok) settle(button, result);
  else toast(result.status === 409 ? "warn" : "bad", ...complaint(result));
}

function fields(form) {
  const values = {};
  for (const input of form.elements)
    if (input.name && input.value !== "") values[input.name] = "number" in input.dataset ? Number(input.value) : input.value;
  return (SHAPES[form.dataset.shape] ?? SHAPES.plain)(values, form);
}

// How the fields of a form become the body of an order.
const SHAPES = {
  plain: (values) => values,
  given: (values, form) => JSON.parse(form.dataset.body),
  variable: (values) => ({ [values.kind]: { [values.name]: values.value ?? "" } }),
  secrets: (values) => ({ secrets: values }),
  consent: ({ days, since }, form) => ({
    classes: [...form.querySelectorAll("[name=class]:checked")].map((box) => box.value),
    text_version: form.dataset.text,
    ...(days ? { days: Number(days) } : {}),
    ...(Number(since) ? { backfill: "days", backfill_days: Number(since) } : { backfill: since }),
  }),
  budget: ({ day, month, day_tokens: today, month_tokens: tokens, currency }, form) => ({
    day_micro: Math.round(Number(day ?? 0) * 1e6),
    month_micro: Math.round(Number(month ?? 0) * 1e6),
    day_tokens: Number(today ?? 0),
    month_tokens: Number(tokens ?? 0),
    currency,
    cap: form.elements.cap.checked,
  }),
  upgrade: ({ version }, form) => ({ version, restore: form.elements.restore?.checked ?? false }),
  rule: ({ days, ...values }, form) => {
    const policy = JSON.parse(form.dataset.body);
    const ends = days ? { expires_at: new Date(Date.now() + days * 86_400_000).toISOString() } : {};
    return { ...policy, mode: "rules", rules: [...policy.rules, { kind: "channel", ...values, ...ends }] };
  },
};

// Pages with forms of their own add shapes.
export const shape = (name, make) => { SHAPES[name] = make; };

const typed = (form) => JSON.stringify([...form.elements].map((input) => input.value));

async function submit(form) {
  const sent = typed(form);
  const [method, url] = form.dataset.api.split(" ");
  const button = form.querySelector('[type="submit"]');
  const error = form.querySelector(".form-error");
  if (form.dataset.needs && !form.querySelector("input:checked")) {
    error.hidden = false;
    error.textContent = form.dataset.needs;
    return;
  }
  const body = fields(form);
  if ("cleanUrl" in form.dataset) history.replaceState(null, "", location.pathname);
  button.disabled = true;
  const result = await send(method, url, body);
  button.disabled = false;
  error.hidden = result.ok;
  if (!result.ok) {
    error.textContent = complaint(result).filter(Boolean).join(" ");
    return;
  }
  form.closest("dialog")?.close();
  if (typed(form) === sent) form.reset(); // what was typed while the answer was on its way stays
  settle(form, result);
}

document.addEventListener("click", (event) => {
  const at = event.target.closest("[data-order], [data-edit-variable], [data-copy]");
  if (!at) return;
  if (at.dataset.order) tracked(() => press(at));
  if ("copy" in at.dataset) navigator.clipboard?.writeText(document.querySelector("[data-secret]").textContent).then(() => toast("ok", "Copied"));
  if ("editVariable" in at.dataset) {
    const form = document.getElementById("variable");
    for (const name of ["kind", "name", "value"]) form.elements[name].value = at.dataset[name];
    form.elements.value.focus();
  }
});
// What a page leads on to is pressed once, when it is there: also where that comes while one waits.
const pressed = new WeakSet();
function pressAtOnce() {
  const at = document.querySelector("[data-at-once]");
  if (!at || pressed.has(at)) return;
  pressed.add(at);
  at.click();
}
pressAtOnce();
document.addEventListener("htmx:after:swap", pressAtOnce);
document.addEventListener("submit", (event) => {
  if (!event.target.dataset.api) return;
  event.preventDefault();
  tracked(() => submit(event.target));
});
document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-typed]");
  if (form) form.querySelector('[type="submit"]').disabled = event.target.value !== form.dataset.typed;
});
