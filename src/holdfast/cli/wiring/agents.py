"""Where each agent keeps its hooks, and the form of a recording hook there.

One row an agent. `edit` rows change a file that belongs to its owner; `own` rows write files that
are ours alone, in a folder from which the agent loads plugins.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from holdfast.cli.wiring.edits import INNER

MARK: Final = "holdfast.sdk.hook"
"""Marks every entry and file of ours."""
HOOK_TIMEOUT_S: Final = 10
"""Time limit of the hook; it needs some 0.1 s, and a second when it may send."""

_COMMAND: Final = re.compile(r"^const \[program, \.\.\.words\] = (\[.*\]);$", re.MULTILINE)

Places = Mapping[str, str]
"""The environment, and HOME in it."""
Build = Callable[[str], Any]
"""Makes the entry from the command line of the hook."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """A hook that is one entry in a list of a settings file."""

    name: str
    file: Callable[[Places], Path]
    form: Literal["json", "yaml"]
    keys: tuple[str, ...]
    entry: Build
    top: Mapping[str, Any]
    switches: tuple[str, ...] = ()
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """A hook that is a folder or file of ours among the agent's plugins."""

    name: str
    files: Callable[[Places, list[str]], dict[Path, str]]
    hint: str = ""


def hook_command(python: str, agent: str, brain: Path) -> list[str]:
    """Return the command line of the recording hook; `-I` keeps the project's modules out."""
    return [python, "-I", "-m", MARK, "--agent", agent, "--brain", str(brain)]


def command_of(text: object) -> list[str] | None:
    """Return the words of a command line that is a recording hook and nothing else, else None.

    Where it stands may have been edited since it was installed, and so may its words be; one that
    does other work as well (a pipe, a second command, a script around it) is its owner's.
    """
    if not isinstance(text, str) or MARK not in text or set(text) & {"\n", "`"}:
        return None
    try:
        words = shlex.split(text)
        operators = shlex.shlex(text, posix=True, punctuation_chars=True)
        chained = any(not part.strip("();<>|&") for part in operators if part)
    except ValueError:
        return None
    if chained or MARK not in words or words != shlex.split(text, comments=True):
        return None
    at = words.index(MARK)
    return words if at > 1 and words[at - 1] == "-m" else None


def is_ours(entry: Any) -> bool:
    """Return whether an entry of a list of hooks contains our command and no other."""
    if not isinstance(entry, dict):
        return False
    inner = entry.get(INNER)
    if isinstance(inner, list):
        return bool(inner) and all(map(is_ours, inner))
    return command_of(entry.get("command")) is not None


def mentions(entry: Any) -> bool:
    """Return whether our hook is anywhere in an entry."""
    return MARK in json.dumps(entry, default=str)


def own_command(text: str) -> list[str] | None:
    """Return the command in a plugin that we wrote, None if there is none."""
    found = _COMMAND.search(text)
    try:
        words = json.loads(found[1]) if found else None
    except ValueError:
        return None
    return words if isinstance(words, list) and all(isinstance(w, str) for w in words) else None


def _home(places: Places) -> Path:
    return Path(places["HOME"])


def _grouped(matcher: str) -> Build:
    def build(command: str) -> dict[str, Any]:
        hook = {"type": "command", "command": command, "timeout": HOOK_TIMEOUT_S}
        return {"matcher": matcher, "hooks": [hook]}

    return build


def _gemini(command: str) -> dict[str, Any]:
    hook = {
        "name": "holdfast-recorder",
        "type": "command",
        "command": command,
        "timeout": HOOK_TIMEOUT_S * 1000,
    }
    return {"matcher": "replace|write_file", "hooks": [hook]}


def _cursor(command: str) -> dict[str, Any]:
    return {"command": command}


def _hermes(command: str) -> dict[str, Any]:
    return {"matcher": "patch|write_file", "command": command, "timeout": HOOK_TIMEOUT_S}


def _opencode(places: Places, command: list[str]) -> dict[Path, str]:
    config = Path(places.get("XDG_CONFIG_HOME") or _home(places) / ".config")
    code = _OPENCODE.replace("@COMMAND@", json.dumps(command))
    return {config / "opencode" / "plugins" / "holdfast-recorder.js": code}


def _openclaw(places: Places, command: list[str]) -> dict[Path, str]:
    state = Path(places.get("OPENCLAW_STATE_DIR") or _home(places) / ".openclaw")
    folder = state / "extensions" / "holdfast-recorder"
    package = {
        "name": "holdfast-recorder",
        "version": "1.0.0",
        "private": True,
        "type": "module",
        "openclaw": {"extensions": ["./index.js"]},
    }
    manifest = {
        "id": "holdfast-recorder",
        "name": "Holdfast recorder",
        "description": f"Records the agent's edits with {MARK}.",
        "activation": {"onStartup": True},
        "configSchema": {"type": "object", "additionalProperties": False},
    }
    return {
        folder / "package.json": json.dumps(package, indent=2) + "\n",
        folder / "openclaw.plugin.json": json.dumps(manifest, indent=2) + "\n",
        folder / "index.js": _OPENCLAW.replace("@COMMAND@", json.dumps(command)),
    }


_SEND: Final = """\
// Written by `holdfast brain install`; `holdfast brain uninstall` takes it out (holdfast.sdk.hook).
// It hands each finished edit to the recorder and waits for nothing.
import { spawn } from "node:child_process";

const [program, ...words] = @COMMAND@;

function record(payload) {
  try {
    const child = spawn(program, words, { stdio: ["pipe", "ignore", "ignore"], detached: true });
    child.on("error", () => {});
    child.stdin.on("error", () => {});
    child.stdin.end(JSON.stringify(payload));
    child.unref();
  } catch {
    // the agent's work goes on whatever becomes of a record
  }
}
"""
_OPENCODE: Final = (
    _SEND
    + """
export const HoldfastRecorder = async () => ({
  "tool.execute.after": async (input, output) => {
    if (!["edit", "write", "patch", "multiedit"].includes(input.tool)) return;
    const args = input.args ?? output?.metadata?.args ?? {};
    record({ tool_name: input.tool, tool_input: args, session_id: input.sessionID });
  },
});
"""
)
_OPENCLAW: Final = (
    _SEND
    + """
export default {
  id: "holdfast-recorder",
  register(api) {
    api.on("after_tool_call", (event, context) => {
      if (event.error || !["edit", "write", "apply_patch"].includes(event.toolName)) return;
      record({
        tool_name: event.toolName,
        tool_input: event.params,
        session_id: context?.sessionKey,
      });
    });
  },
};
"""
)

AGENTS: Final[tuple[Edited | Owned, ...]] = (
    Edited(
        name="claude-code",
        file=lambda places: (
            Path(places.get("CLAUDE_CONFIG_DIR") or _home(places) / ".claude") / "settings.json"
        ),
        form="json",
        keys=("hooks", "PostToolUse"),
        entry=_grouped("Edit|MultiEdit|Write"),
        top={},
        switches=("disableAllHooks",),
    ),
    Edited(
        name="codex",
        file=lambda places: (
            Path(places.get("CODEX_HOME") or _home(places) / ".codex") / "hooks.json"
        ),
        form="json",
        keys=("hooks", "PostToolUse"),
        entry=_grouped("apply_patch|Edit|Write"),
        top={},
        hint="where hooks are still a feature of Codex to be switched on, config.toml wants "
        "`codex_hooks = true` under [features]",
    ),
    Edited(
        name="gemini",
        file=lambda places: _home(places) / ".gemini" / "settings.json",
        form="json",
        keys=("hooks", "AfterTool"),
        entry=_gemini,
        top={},
    ),
    Edited(
        name="cursor",
        file=lambda places: _home(places) / ".cursor" / "hooks.json",
        form="json",
        keys=("hooks", "afterFileEdit"),
        entry=_cursor,
        top={"version": 1},
    ),
    Edited(
        name="hermes",
        file=lambda places: (
            Path(places.get("HERMES_HOME") or _home(places) / ".hermes") / "config.yaml"
        ),
        form="yaml",
        keys=("hooks", "post_tool_call"),
        entry=_hermes,
        top={},
        hint="Hermes asks once whether it may run a new hook",
    ),
    Owned(name="opencode", files=_opencode),
    Owned(
        name="openclaw",
        files=_openclaw,
        hint="OpenClaw loads it after `openclaw plugins enable holdfast-recorder` and a restart "
        "of its gateway",
    ),
)


def find(name: str) -> Edited | Owned | None:
    """Return an agent's row, None if it is unknown."""
    return next((agent for agent in AGENTS if agent.name == name), None)
