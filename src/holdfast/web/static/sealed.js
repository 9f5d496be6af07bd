// Opens what a node sealed, in this browser alone: nothing that was opened is sent anywhere.
import { CONTENT_KEY, cannot, fromBase64url, keyId, myKey, openFrom } from "./browser_keys.js";
import { TooLargeError } from "./opened_rows.js";

const NONCE_BYTES = 12;
const KEY_BYTES = [16, 32]; // Chromium has no AES with 24
const BODY_BYTES_MAX = 8 * 1024 * 1024; // a body of our observer has 180 kB; older programs send more
const PAGE_BYTES_MAX = 128 * 1024 * 1024; // what one page opens before it is loaded anew: 700 full uploads

export async function keysOf(nodeId) {
  const answer = await fetch(`/api/nodes/${encodeURIComponent(nodeId)}/sealed-keys`, { headers: { accept: "application/json" } });
  if (!answer.ok) throw new Error(`The plane did not give the keys of this node: HTTP ${answer.status}.`);
  return answer.json();
}

async function contentKey(holder, nodeId, copy) {
  const raw = await openFrom(holder, CONTENT_KEY, nodeId, copy.sealed);
  return KEY_BYTES.includes(raw.length) && (await keyId(raw)) === copy.key_id ? raw : null;
}

// Returns the content keys of a node in copies that are sealed to a holder, as raw bytes, the newest first.
// The plane may have put there anything: what does not open, is no key, or is not the key that its id
// says, is left out.
export async function contentKeys(holder, nodeId, copies) {
  const found = await Promise.all(copies.map((copy) => contentKey(holder, nodeId, copy).catch(() => null)));
  return found.filter((raw) => raw !== null);
}

// Returns the content keys that are sealed to this browser; `mine` is its key.
export const myContentKeys = (mine, nodeId, listed) =>
  contentKeys({ privateKey: mine.pair.privateKey, point: mine.point }, nodeId, listed.items.find((item) => item.id === mine.id)?.copies ?? []);

// Returns at most `most` bytes of what was sealed; throws for more: a small blob may unpack to gigabytes.
async function unpacked(plain, most) {
  const packed = plain[0] === 0x1f && plain[1] === 0x8b;
  const bytes = new Blob([plain]).stream();
  const reader = (packed ? bytes.pipeThrough(new DecompressionStream("gzip")) : bytes).getReader();
  const parts = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return new Blob(parts).text();
    size += value.length;
    if (size > most) {
      await reader.cancel();
      throw new TooLargeError("Cut: it is larger than a page can show.");
    }
    parts.push(value);
  }
}

// Returns null where this browser holds no key for the node; otherwise what opens a sealed body: it takes the
// blob as the plane stores it and resolves to the JSON that was sealed. It rejects with a reason where
// no key that this browser holds opens the blob, and with TooLargeError for more than a page can show.
export async function opener(nodeId) {
  if (cannot()) return null;
  const listed = await keysOf(nodeId);
  const mine = await myKey(listed.account);
  if (!mine) return null;
  const raws = await myContentKeys(mine, nodeId, listed);
  const keys = await Promise.all(raws.map((raw) => crypto.subtle.importKey("raw", raw, "AES-GCM", false, ["decrypt"])));
  if (!keys.length) return null;
  let left = PAGE_BYTES_MAX;
  return async (blob) => {
    const raw = fromBase64url(blob);
    for (const key of keys) {
      let plain;
      try {
        plain = await crypto.subtle.decrypt({ name: "AES-GCM", iv: raw.slice(0, NONCE_BYTES) }, key, raw.slice(NONCE_BYTES));
      } catch {
        continue;
      }
      const text = await unpacked(new Uint8Array(plain), Math.min(BODY_BYTES_MAX, left));
      left -= text.length;
      return JSON.parse(text);
    }
    throw new Error("No key in this browser opens this: it was sealed with another one, or changed.");
  };
}
