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

// A page may leave a word for the one it leads to.
export function later(tone, title) {
  try { sessionStorage.setItem("toast", JSON.stringify([tone, title])); } catch { /* unsaid */ }
}
try {
  const left = sessionStorage.getItem("toast");
  sessionStorage.removeItem("toast");
  if (left) toast(...JSON.parse(left));
} catch { /* nothing was left */ }
