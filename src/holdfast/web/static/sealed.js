// Opens what a node sealed, in this browser alone: nothing that was opened is sent anywhere.
import { CONTENT_KEY, fromBase64url, myKey, openFrom } from "./browser_keys.js";

const NONCE_BYTES = 12;

export async function keysOf(nodeId) {
  const answer = await fetch(`/api/nodes/${encodeURIComponent(nodeId)}/sealed-keys`, { headers: { accept: "application/json" } });
  if (!answer.ok) throw new Error(`The plane did not give the keys of this node: HTTP ${answer.status}.`);
  return answer.json();
}

// Returns the content keys of a node that are sealed to this browser, as raw bytes, the newest first.
// A copy that does not open is left out: the plane may have put there anything.
export async function contentKeys(nodeId, mine, listed) {
  const row = listed.items.find((item) => item.id === mine.id);
  const holder = { privateKey: mine.pair.privateKey, point: mine.point };
  const found = await Promise.all(
    (row?.copies ?? []).map((copy) => openFrom(holder, CONTENT_KEY, nodeId, copy.sealed).catch(() => null)),
  );
  return found.filter((raw) => raw !== null);
}

async function unpacked(plain) {
  if (plain[0] !== 0x1f || plain[1] !== 0x8b) return plain;
  const stream = new Blob([plain]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Returns null where this browser holds no key for the node; otherwise what opens a sealed body: it takes the
// blob as the plane stores it and resolves to the JSON that was sealed. It rejects with a reason where
// no key that this browser holds opens the blob.
export async function opener(nodeId) {
  const mine = await myKey();
  if (!mine) return null;
  const raws = await contentKeys(nodeId, mine, await keysOf(nodeId));
  const keys = await Promise.all(raws.map((raw) => crypto.subtle.importKey("raw", raw, "AES-GCM", false, ["decrypt"])));
  if (!keys.length) return null;
  return async (blob) => {
    const raw = fromBase64url(blob);
    for (const key of keys) {
      let plain;
      try {
        plain = await crypto.subtle.decrypt({ name: "AES-GCM", iv: raw.slice(0, NONCE_BYTES) }, key, raw.slice(NONCE_BYTES));
      } catch {
        continue;
      }
      return JSON.parse(new TextDecoder().decode(await unpacked(new Uint8Array(plain))));
    }
    throw new Error("No key in this browser opens this: it was sealed with another one, or changed.");
  };
}
