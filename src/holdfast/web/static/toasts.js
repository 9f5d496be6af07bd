// Says what came of an order, in a region that screen readers read out.
const region = document.getElementById("toasts");
const LASTS_MS = 7000;

export function toast(tone, title, text = "", link = null) {
  const box = document.createElement("div");
  box.className = `toast ${tone}`;
  const head = document.createElement("p");
  head.append(Object.assign(document.createElement("b"), { textContent: title }));
  box.append(head);
  if (text) box.append(Object.assign(document.createElement("p"), { textContent: text }));
  if (link) box.append(Object.assign(document.createElement("a"), { href: link.href, textContent: link.text }));
  const close = Object.assign(document.createElement("button"), { type: "button", className: "quiet", textContent: "×" });
  close.setAttribute("aria-label", "Dismiss");
  close.addEventListener("click", () => box.remove());
  box.append(close);
  if (tone === "bad") box.setAttribute("role", "alert");
  region.append(box);
  while (region.children.length > 4) region.firstElementChild.remove();
  if (tone !== "bad") setTimeout(() => box.remove(), LASTS_MS);
}

// A page may leave words for the one it leads to.
const kept = () => JSON.parse(sessionStorage.getItem("toasts") ?? "[]");
export function later(tone, title) {
  try { sessionStorage.setItem("toasts", JSON.stringify([...kept(), [tone, title]])); } catch { /* unsaid */ }
}
try {
  const left = kept();
  sessionStorage.removeItem("toasts");
  for (const words of left) toast(...words);
} catch { /* nothing was left */ }
