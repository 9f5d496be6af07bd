// Turns of a session out of an opened body of events: who said or did what, as the plane reads those in the clear.
import { listOf } from "./opened_rows.js";

const ROLES = new Map([
  ["toolResult", "tool"], ["tool_result", "tool"], ["toolCall", "tool"], ["human", "user"], ["developer", "system"],
  ...["user", "assistant", "tool", "system"].map((role) => [role, role]),
]);
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const word = (value) => (typeof value === "string" ? value : "");

function partText(part) {
  if (typeof part === "string") return part;
  if (!isObject(part)) return "";
  for (const name of ["text", "thinking"]) if (typeof part[name] === "string") return part[name];
  for (const name of ["arguments", "input", "content"])
    if (part[name] != null) return typeof part[name] === "string" ? part[name] : JSON.stringify(part[name]);
  return "";
}

function turnOf(event) {
  if (!isObject(event)) return { who: "other", tool: "", text: typeof event === "string" ? event : JSON.stringify(event), at: "" };
  const inner = [event.message, event.payload].find(isObject) ?? event;
  const content = inner.content ?? inner.text ?? "";
  const parts = Array.isArray(content) ? content : [content];
  const named = parts.find((part) => isObject(part) && (part.name || part.toolName));
  const tool = word(named?.name) || word(named?.toolName) || word(inner.toolName) || word(inner.tool_name) || (inner === event ? "" : word(inner.name));
  const text = parts.map(partText).filter(Boolean).join("\n");
  const kind = word(inner.role) || word(event.type);
  return {
    who: ROLES.get(kind) ?? (word(event.type) || "other"),
    tool,
    text: text || (tool ? "" : JSON.stringify(event)),
    at: word(event.timestamp) || word(event.ts),
  };
}

export const turnsOf = (body) => listOf(body, "events").map(turnOf);
