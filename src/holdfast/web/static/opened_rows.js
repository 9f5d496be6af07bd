// Rows of what was opened in this browser: how many there may be, and how they are told from rows in the clear.
export const ROWS_MAX = 2_000; // of a list in a body (our observer sends 200), and on a page
const TEXT_MAX = 200_000; // characters of one text, as in pages of what is stored in the clear

// A body, or all that a page opened, is larger than a page can show.
export class TooLargeError extends Error {}

export function make(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== "") made.textContent = shortened(text);
  return made;
}

export const shortened = (text) => (text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}… (cut)` : text);

// A list of an opened body, which may hold anything.
export const listOf = (body, name) => (Array.isArray(body?.[name]) ? body[name].slice(0, ROWS_MAX) : []);

// A value of an opened body as text: a word or a number. An object may have a "toString" that is none.
export const textOf = (value) => (typeof value === "string" || typeof value === "number" ? String(value) : "");

// A number, also one in words; NaN for anything else.
export const numberOf = (value) => Number(textOf(value) || NaN);

export const isCut = (body, name) => Array.isArray(body?.[name]) && body[name].length > ROWS_MAX;

export function markOpened(rows) {
  for (const row of rows) row.dataset.opened = "";
}
