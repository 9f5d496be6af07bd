// The keys of a node: this browser's, other ones, and the recovery code. What is secret stays in this page.
import {
  CONTENT_KEY, cannot, fingerprint, forgetKey, fromBase64url, idOf, keyId, makeKey, makeRecovery, myKey, sealTo, toBase64url,
  unlockRecovery,
} from "./browser_keys.js";
import { send } from "./orders.js";
import { contentKeys, keysOf, myContentKeys } from "./sealed.js";
import { toast } from "./toasts.js";

const root = document.getElementById("node-keys");
const { node, account } = root.dataset;
const part = (id) => document.getElementById(id);
let mine = null, listed = null, held = [], heldIds = [];

function complain(error) {
  const told = error.body ? [error.body.message ?? "That did not work.", error.body.fix ?? ""] : [error.message, ""];
  toast("bad", ...told);
}

async function ask(method, url, body) {
  const result = await send(method, url, body);
  if (!result.ok) throw Object.assign(new Error("refused"), { body: result.body });
  return result.body;
}

const register = (name, point, more = {}) =>
  ask("POST", "/api/browser-keys", { name, public_key: toBase64url(point), account, ...more });

const revoked = (id) => ask("DELETE", `/api/browser-keys/${encodeURIComponent(id)}?account=${encodeURIComponent(account)}`);

// Seals every content key that this page holds to a key whose fingerprint a person vouches for.
async function enrol(raws, point, id) {
  let added = 0;
  for (const raw of raws) {
    const sealed = await sealTo(point, CONTENT_KEY, node, raw);
    try {
      await ask("POST", `/api/nodes/${encodeURIComponent(node)}/sealed-keys`, { browser: id, key_id: await keyId(raw), sealed });
      added += 1;
    } catch (error) {
      if (error.body?.code !== "copy_known") throw error;
    }
  }
  if (!added) throw new Error("A copy of every key is there for that browser. If it opens nothing, revoke it, and make another key in it.");
}

function cell(text, label) {
  const made = document.createElement("td");
  made.dataset.label = label;
  made.textContent = text;
  return made;
}

async function rowOf(item) {
  const row = document.createElement("tr");
  const shown = await fingerprint(fromBase64url(item.public_key));
  row.id = idOf(shown);
  // Which key a copy is, only its browser can tell: of others the plane's word is all there is.
  const isMine = mine !== null && row.id === mine.id;
  const ids = (isMine ? heldIds : item.copies.map((copy) => copy.key_id)).join(", ");
  const opens = isMine ? `key ${ids}` : `as this plane says: key ${ids}`;
  const name = cell(item.name, "Name");
  name.className = "name";
  if (isMine) name.append(" (this browser)");
  if (item.kind === "recovery") name.append(" (recovery code)");
  const orders = document.createElement("td");
  const revoke = Object.assign(document.createElement("button"), { type: "button", className: "button danger", textContent: "Revoke" });
  revoke.addEventListener("click", () => act(async () => {
    if (!confirm(`Revoke ${item.name}? What is sealed to it is deleted here; what it has opened it keeps.`)) return;
    await revoked(item.id);
    // A revoked key opens nothing any more: this browser makes another one when it is wanted.
    if (mine && item.id === mine.id) await forgetKey(account);
  }));
  orders.append(revoke);
  row.append(name, cell(shown, "Fingerprint"), cell(ids ? opens : "no", "Opens this node"), cell(item.copies[0]?.by ?? "", "Enrolled by"), orders);
  return row;
}

function state() {
  if (!mine) return "This browser has no key. Make one, then let it in.";
  if (!listed.items.some((item) => item.id === mine.id))
    return "The plane does not know this browser's key here, or it was revoked. Make it known again, or make another.";
  return held.length
    ? "This browser opens what this node sealed."
    : "This browser has a key, and nothing of this node is sealed to it yet.";
}

async function show() {
  mine = await myKey(account);
  listed = await keysOf(node);
  held = mine ? await myContentKeys(mine, node, listed) : [];
  heldIds = await Promise.all(held.map(keyId));
  const known = mine !== null && listed.items.some((item) => item.id === mine.id);
  part("keys-state").textContent = state();
  part("keys-make").hidden = known;
  part("keys-waits").hidden = !known || held.length > 0;
  part("keys-others").hidden = part("keys-recovery").hidden = held.length === 0;
  if (part("keys-first")) part("keys-first").hidden = listed.items.some((item) => item.id !== mine?.id && item.copies.length);
  part("keys-by-code").hidden = !listed.items.some((item) => item.kind === "recovery" && item.copies.length);
  for (const place of root.querySelectorAll("[data-fingerprint]")) place.textContent = mine?.fingerprint ?? "";
  part("keys-list").replaceChildren(...await Promise.all(listed.items.map(rowOf)));
}

async function act(work) {
  try {
    await work();
    await show();
  } catch (error) {
    complain(error);
  }
}

async function makeKnown() {
  const name = part("keys-name").value.trim();
  let key = await makeKey(account);
  try {
    await register(name, key.point);
  } catch (error) {
    if (error.body?.code !== "key_revoked") throw error;
    await forgetKey(account);
    key = await makeKey(account);
    await register(name, key.point);
  }
}

async function enrolOther() {
  const wanted = idOf(part("keys-typed").value);
  const item = listed.items.find((one) => one.id === wanted);
  if (!item) throw new Error("No key of this account has that fingerprint. Compare it with what the other browser shows.");
  const point = fromBase64url(item.public_key);
  const shown = await fingerprint(point);
  if (idOf(shown) !== wanted)
    throw new Error(`This plane gave another key for that fingerprint (${shown}). Nothing was sealed to it: somebody may be exchanging keys.`);
  await enrol(held, point, wanted);
  part("keys-typed").value = "";
  toast("ok", `${item.name} opens this node now`);
}

async function makeCode() {
  const made = await makeRecovery();
  const shown = await fingerprint(made.point);
  await register("Recovery code", made.point, { kind: "recovery", locked: made.locked });
  try {
    await enrol(held, made.point, idOf(shown));
  } catch (error) {
    await revoked(idOf(shown)); // nobody has seen its code
    throw error;
  }
  root.querySelector("[data-code]").textContent = made.code;
  root.querySelector("[data-code-fingerprint]").textContent = shown;
  part("keys-code-shown").hidden = false;
}

async function unlocked(item, code) {
  const point = fromBase64url(item.public_key);
  let holder;
  try {
    holder = await unlockRecovery(code, point, item.locked);
  } catch {
    return [];
  }
  return contentKeys(holder, node, item.copies);
}

async function recover() {
  const raws = [];
  for (const item of listed.items) if (item.kind === "recovery") raws.push(...await unlocked(item, part("keys-code").value));
  if (!raws.length) throw new Error("That code opens nothing of this node. Look whether every letter is right.");
  await enrol(raws, mine.point, mine.id);
  part("keys-code").value = "";
}

function onSubmit(id, work) {
  part(id).querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    act(work);
  });
}

onSubmit("keys-make", makeKnown);
onSubmit("keys-others", enrolOther);
onSubmit("keys-by-code", recover);
part("keys-make-code").addEventListener("click", () => act(makeCode));
part("keys-by-machine")?.addEventListener("click", () => act(() =>
  ask("POST", `/api/nodes/${encodeURIComponent(node)}/sealed-keys/by-machine`, { fingerprint: mine.fingerprint })));

const why = cannot();
if (why) part("keys-state").textContent = why;
else show().catch((error) => { part("keys-state").textContent = error.message; });
