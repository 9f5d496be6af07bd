// Returns null where this browser holds no key for the node; otherwise what opens a sealed body. No
// browser can hold a key yet.
export async function opener(_nodeId) {
  return null;
}
