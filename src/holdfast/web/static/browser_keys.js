// This browser's key pair, and what is sealed to it (docs/consent.md, "Keys"). The private key is made here,
// cannot be exported, and stays in this browser's IndexedDB; the plane has the public one only.
const CURVE = { name: "ECDH", namedCurve: "P-256" };
const POINT_BYTES = 65; // an uncompressed point of P-256
const NONCE_BYTES = 12;
const SALT_BYTES = 16;
const CODE_BYTES = 20;
const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"; // base32, RFC 4648
const FINGERPRINT_DIGITS = 20; // 100 bits
const STORE = "keys";
const KEY_ID_DIGITS = 25; // 100 bits, as of a fingerprint

export const CONTENT_KEY = "holdfast content key 1";
export const PREVIEW = "holdfast preview 1";
const RECOVERY = "holdfast recovery code 1";

const utf8 = (text) => new TextEncoder().encode(text);

export function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) { whole.set(part, at); at += part.length; }
  return whole;
}

export function toBase64url(bytes) {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export const fromBase64url = (text) =>
  Uint8Array.from(atob(text.trim().replaceAll("-", "+").replaceAll("_", "/").replaceAll("=", "")), (letter) => letter.charCodeAt(0));

export function base32(bytes) {
  let text = "", held = 0, bits = 0;
  for (const byte of bytes) {
    held = (held << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += DIGITS[(held >> (bits - 5)) & 31];
    held &= (1 << bits) - 1;
  }
  return text;
}

const grouped = (text) => text.match(/.{1,4}/g).join("-");

// What somebody typed, as digits alone: case, spaces and hyphens do not matter.
export const typed = (text) => text.toUpperCase().replace(/[^A-Z0-9]/g, "");

function codeBytes(text) {
  const bytes = [];
  let held = 0, bits = 0;
  for (const letter of typed(text)) {
    const digit = DIGITS.indexOf(letter);
    if (digit < 0) throw new Error(`${letter} is no letter of a recovery code`);
    held = ((held & 255) << 5) | digit;
    bits += 5;
    if (bits >= 8) { bits -= 8; bytes.push((held >> bits) & 255); }
  }
  if (bytes.length !== CODE_BYTES) throw new Error("a recovery code has eight groups of four letters");
  return Uint8Array.from(bytes);
}

// Why this browser can hold no key, or nothing.
export const cannot = () =>
  !globalThis.isSecureContext || !crypto.subtle
    ? "This page came over an address that browsers do not trust with keys: open it by https, or on this machine."
    : globalThis.indexedDB ? "" : "This browser keeps nothing for pages, so it can hold no key.";

export async function fingerprint(point) {
  const digest = await crypto.subtle.digest("SHA-256", joined(utf8("holdfast browser key 1\n"), point));
  return grouped(base32(new Uint8Array(digest)).slice(0, FINGERPRINT_DIGITS));
}

export const idOf = (shown) => `bk_${typed(shown).toLowerCase()}`;

// ---- what this browser keeps

function opened() {
  return new Promise((resolve, reject) => {
    const asked = indexedDB.open("holdfast", 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore(STORE);
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
}

async function inStore(mode, work) {
  const database = await opened();
  try {
    return await new Promise((resolve, reject) => {
      const change = database.transaction(STORE, mode);
      const asked = work(change.objectStore(STORE));
      change.oncomplete = () => resolve(asked.result);
      change.onabort = change.onerror = () => reject(change.error);
    });
  } finally {
    database.close();
  }
}

// Each account that is signed in to here has a key of its own, which stays when somebody signs out.
const placeOf = (account) => `browser ${account}`;

// Returns {pair, point, id, fingerprint}, or null where this browser has no key for the account.
export async function myKey(account) {
  if (cannot()) return null;
  const pair = await inStore("readonly", (store) => store.get(placeOf(account)));
  return pair ? described(pair) : null;
}

async function described(pair) {
  const point = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  const shown = await fingerprint(point);
  return { pair, point, id: idOf(shown), fingerprint: shown };
}

export async function makeKey(account) {
  const pair = await crypto.subtle.generateKey(CURVE, false, ["deriveBits"]);
  // Another tab may have made one meanwhile: the first one stays.
  await inStore("readwrite", (store) => {
    const asked = store.get(placeOf(account));
    asked.onsuccess = () => { if (!asked.result) store.put(pair, placeOf(account)); };
    return asked;
  });
  return myKey(account);
}

// A key pair of one page, which is gone with it.
export async function makePageKey() {
  const pair = await crypto.subtle.generateKey(CURVE, false, ["deriveBits"]);
  return { privateKey: pair.privateKey, point: new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey)) };
}

export const forgetKey = (account) => inStore("readwrite", (store) => store.delete(placeOf(account)));

// ---- sealed to a key pair: point of a passing key | nonce | AES-GCM

async function sharedKey(own, theirs, purpose, passing, recipient, use) {
  const bits = await crypto.subtle.deriveBits({ name: "ECDH", public: theirs }, own, 256);
  const material = await crypto.subtle.importKey("raw", bits, "HKDF", false, ["deriveKey"]);
  const info = joined(utf8(purpose), passing, recipient);
  return crypto.subtle.deriveKey(
    { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info }, material, { name: "AES-GCM", length: 256 }, false, [use],
  );
}

const about = (nonce, purpose, node) => ({ name: "AES-GCM", iv: nonce, additionalData: utf8(`${purpose}\n${node}`) });
const publicKey = (point) => crypto.subtle.importKey("raw", point, CURVE, true, []);

export async function sealTo(point, purpose, node, plain) {
  const passing = await crypto.subtle.generateKey(CURVE, false, ["deriveBits"]);
  const passingPoint = new Uint8Array(await crypto.subtle.exportKey("raw", passing.publicKey));
  const key = await sharedKey(passing.privateKey, await publicKey(point), purpose, passingPoint, point, "encrypt");
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const sealed = await crypto.subtle.encrypt(about(nonce, purpose, node), key, plain);
  return toBase64url(joined(passingPoint, nonce, new Uint8Array(sealed)));
}

// `holder` is {privateKey, point}; throws for what was sealed to another key, for another node, or changed.
export async function openFrom(holder, purpose, node, text) {
  const raw = fromBase64url(text);
  const passingPoint = raw.slice(0, POINT_BYTES);
  const nonce = raw.slice(POINT_BYTES, POINT_BYTES + NONCE_BYTES);
  const key = await sharedKey(holder.privateKey, await publicKey(passingPoint), purpose, passingPoint, holder.point, "decrypt");
  const sealed = raw.slice(POINT_BYTES + NONCE_BYTES);
  return new Uint8Array(await crypto.subtle.decrypt(about(nonce, purpose, node), key, sealed));
}

// The id of a content key: the same on the machine (`observer keys`) and on pages.
export async function keyId(raw) {
  const material = await crypto.subtle.importKey("raw", raw, "HKDF", false, ["deriveBits"]);
  const bits = await crypto.subtle.deriveBits(
    { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info: utf8("holdfast content key id 1") }, material, 104,
  );
  return Array.from(new Uint8Array(bits), (byte) => byte.toString(16).padStart(2, "0")).join("").slice(0, KEY_ID_DIGITS);
}

// ---- recovery: a key pair whose private half is locked with a code

async function codeKey(code, salt, use) {
  const material = await crypto.subtle.importKey("raw", codeBytes(code), "HKDF", false, ["deriveKey"]);
  const kind = { name: "HKDF", hash: "SHA-256", salt, info: utf8(RECOVERY) };
  return crypto.subtle.deriveKey(kind, material, { name: "AES-GCM", length: 256 }, false, [use]);
}

// Returns {code, point, locked}: the code is shown once, the rest is the plane's to carry.
export async function makeRecovery() {
  const pair = await crypto.subtle.generateKey(CURVE, true, ["deriveBits"]);
  const code = grouped(base32(crypto.getRandomValues(new Uint8Array(CODE_BYTES))));
  const salt = crypto.getRandomValues(new Uint8Array(SALT_BYTES));
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const secret = await crypto.subtle.exportKey("pkcs8", pair.privateKey);
  const point = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  const key = await codeKey(code, salt, "encrypt");
  const sealed = new Uint8Array(await crypto.subtle.encrypt({ name: "AES-GCM", iv: nonce, additionalData: point }, key, secret));
  return { code, point, locked: toBase64url(joined(salt, nonce, sealed)) };
}

// Returns the holder that a code unlocks; throws for another code, or a changed text.
export async function unlockRecovery(code, point, locked) {
  const raw = fromBase64url(locked);
  const salt = raw.slice(0, SALT_BYTES);
  const nonce = raw.slice(SALT_BYTES, SALT_BYTES + NONCE_BYTES);
  const key = await codeKey(code, salt, "decrypt");
  const sealed = raw.slice(SALT_BYTES + NONCE_BYTES);
  const secret = await crypto.subtle.decrypt({ name: "AES-GCM", iv: nonce, additionalData: point }, key, sealed);
  return { privateKey: await crypto.subtle.importKey("pkcs8", secret, CURVE, false, ["deriveBits"]), point };
}
