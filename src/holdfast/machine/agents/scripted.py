"""An agent of a town without a model: it does what the text of its bead says, the same each time.

    python -m holdfast.machine.agents.scripted --prompt FILE

It works in the current folder, a git clone, and calls the plane by `holdfast-tool`. Its script is
the lines of a block fenced with ```script, or lines that begin with `script:`, anywhere in the
prompt; a refinery reads ```review and `review:` instead. Without a script a polecat writes a file
named after its bead, commits and is done; a refinery approves; a mayor takes on what waits for it
until it is stopped.
A line that begins with `@N` counts only in the N-th attempt at its bead, as its branch is numbered.

    write PATH TEXT          put a file            append PATH TEXT     add a line to it
    delete PATH              remove a file         conflict PATH        write what does not merge
    commit MESSAGE           commit all of it      branch NAME          go on on another branch
    done [pr URL]            finish the attempt    request-changes TEXT send a merge request back
    escalate CATEGORY TEXT   ask for a person      mail TO TEXT, nudge TO TEXT, heartbeat, prime
    sleep SECONDS            work, and beat        mute                 beat no more
    cost ID MICRODOLLARS     report what work cost
    attend                   acknowledge all that prime shows, again and again
    say TEXT                 print a line          run COMMAND          run a line of shell
    exec COMMAND             run a line of shell, and end as it does
    fail [CODE]              exit with it          crash                die by a signal
    exit                     end without a word    hang                 do nothing, deaf to SIGTERM

Standard library only.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

TOOL: Final = "holdfast-tool"
BEAT_S: Final = 15.0
"""Time between two heartbeats; the policy waits 90 s for one."""
FAILED: Final = 1
TOOL_FAILED: Final = 4
"""Exit code when the plane refused what the script called."""
BAD_SCRIPT: Final = 64
DRAINED: Final = 143
"""Exit code after SIGTERM, as a shell reports it."""

_FACT: Final = re.compile(r"- ([a-z]+): (.*)")
_ONLY: Final = re.compile(r"@(\d+)\s+(.*)")
_NUMBER: Final = re.compile(r"/(\d+)$")
_TEXT: Final = "## "
_ENV: Final = {"role": "ROLE", "bead": "BEAD", "branch": "BRANCH", "target": "TARGET"}


class Order(NamedTuple):
    """What a prompt says: facts from its head, and the lines of its script."""

    facts: dict[str, str]
    lines: tuple[str, ...]

    @property
    def number(self) -> int:
        """Return which attempt at its bead this is, 1 where the branch has no number."""
        found = _NUMBER.search(self.facts.get("branch", ""))
        return int(found[1]) if found else 1


def read_prompt(text: str, environ: dict[str, str]) -> Order:
    """Return what a prompt says. Facts stand before its first heading of the second level.

    What the environment says of them comes first: the prompt holds what people wrote.
    """
    head = text.partition(f"\n{_TEXT}")[0]
    facts = {found[1]: found[2] for line in head.splitlines() if (found := _FACT.fullmatch(line))}
    for name, variable in _ENV.items():
        facts[name] = environ.get(f"HOLDFAST_TOWN_{variable}", facts.get(name, ""))
    word = "review" if facts["role"] == "refinery" else "script"
    return Order(facts, tuple(_script(text, word)))


def _script(text: str, word: str) -> list[str]:
    lines, fenced = [], False
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("```"):
            fenced = not fenced and stripped == f"```{word}"
        elif fenced and stripped:
            lines.append(stripped)
        elif stripped.startswith(f"{word}:"):
            lines.append(stripped.removeprefix(f"{word}:").strip())
    return lines


def default(facts: dict[str, str]) -> tuple[str, ...]:
    """Return the script of one that has none."""
    if facts["role"] == "mayor":
        return ("attend",)
    if facts["role"] == "refinery":
        return ("prime", "done")
    bead = facts.get("bead") or "work"
    name = re.sub(r"[^A-Za-z0-9._-]", "-", bead)
    return ("prime", f"write {name}.txt work on {bead}", f"commit {bead}: work", "done")


class Scripted:
    """Carries a script out."""

    def __init__(self, order: Order, folder: Path, environ: dict[str, str]) -> None:
        self.order = order
        self.folder = folder
        self.environ = environ
        self.beat_s = float(environ.get("HOLDFAST_SCRIPTED_BEAT_S", BEAT_S))
        self.muted = threading.Event()
        self.steps: dict[str, Callable[[str], object]] = {
            "write": self._write,
            "append": self._append,
            "delete": lambda rest: self._path(rest).unlink(),
            "conflict": self._conflict,
            "commit": self._commit,
            "branch": self._branch,
            "done": self._done,
            "request-changes": lambda rest: self._tool("request-changes", f"--body={rest}"),
            "escalate": self._escalate,
            "mail": lambda rest: self._send("mail", rest),
            "nudge": lambda rest: self._send("nudge", rest),
            "heartbeat": lambda _rest: self._tool("heartbeat"),
            "prime": lambda _rest: self._tool("prime"),
            "cost": self._cost,
            "sleep": lambda rest: time.sleep(float(rest)),
            "rest": lambda _rest: _for_ever(),
            "attend": self._attend,
            "mute": lambda _rest: self.muted.set(),
            "say": say,
            "run": self._run,
            "exec": self._exec,
            "fail": lambda rest: _leave(int(rest or FAILED)),
            "exit": lambda _rest: _leave(0),
            "crash": lambda _rest: os.abort(),
            "hang": self._hang,
        }

    def play(self) -> int:
        """Carry all lines out; return the exit code."""
        self._tool("heartbeat", needed=False)
        threading.Thread(target=self._beat, daemon=True).start()
        for line in self.order.lines or default(self.order.facts):
            only = _ONLY.fullmatch(line)
            if only is not None and int(only[1]) != self.order.number:
                continue
            word, _, rest = (only[2] if only is not None else line).partition(" ")
            if word not in self.steps:
                say(f"no such step: {word!r}; want one of {', '.join(sorted(self.steps))}")
                return BAD_SCRIPT
            say(f"> {word} {rest}".rstrip())
            self.steps[word](rest.strip())
        return 0

    # -- files and git

    def _write(self, rest: str) -> None:
        name, _, text = rest.partition(" ")
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")

    def _append(self, rest: str) -> None:
        name, _, text = rest.partition(" ")
        with self._path(name).open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")

    def _conflict(self, rest: str) -> None:
        self._write(f"{rest} only {self.order.facts.get('bead', '')} may stand here")

    def _commit(self, rest: str) -> None:
        self._git("add", "--all")
        who = ("-c", "user.name=scripted", "-c", "user.email=scripted@localhost")
        self._git(*who, "commit", "--quiet", "--allow-empty", "--message", rest or "work")

    def _branch(self, rest: str) -> None:
        self._git("checkout", "--quiet", "-B", rest)

    def _path(self, name: str) -> Path:
        return self.folder / name

    def _git(self, *arguments: str) -> str:
        return self._call(("git", *arguments))

    def _run(self, rest: str) -> None:
        """Run a line of shell; how it ends is printed and fails nothing."""
        ended = subprocess.run(("/bin/sh", "-c", rest), cwd=self.folder, check=False)
        say(f"it ended with {ended.returncode}")

    def _exec(self, rest: str) -> None:
        sys.stdout.flush()
        os.chdir(self.folder)
        os.execv("/bin/sh", ("sh", "-c", rest))  # noqa: S606  that is the point

    # -- tools

    def _done(self, rest: str) -> None:
        word, _, url = rest.partition(" ")
        more = (f"--pr-url={url}",) if word == "pr" else ()
        if self.order.facts["role"] == "refinery":
            self._tool("done", *more)
            return
        branch = self._git("rev-parse", "--abbrev-ref", "HEAD").strip()
        commit = self._git("rev-parse", "HEAD").strip()
        self._tool("done", f"--branch={branch}", f"--commit={commit}", *more)

    def _escalate(self, rest: str) -> None:
        category, _, text = rest.partition(" ")
        self._tool("escalate", f"--category={category}", f"--body={text or category}")

    def _cost(self, rest: str) -> None:
        one, _, microdollars = rest.partition(" ")
        self._tool("cost", f"--id={one}", f"--microdollars={microdollars}")

    def _send(self, tool: str, rest: str) -> None:
        to, _, text = rest.partition(" ")
        self._tool(tool, f"--to={to}", f"--body={text or tool}")

    def _attend(self, _rest: str) -> NoReturn:
        """Look for messages as often as it beats, print them, and say that they were read."""
        while True:
            said = self._tool("prime", "--json", needed=False)
            messages = json.loads(said)["messages"] if said else []
            if messages:
                self._tool("acknowledge", *(one["id"] for one in messages), needed=False)
            time.sleep(self.beat_s)

    @property
    def _command(self) -> tuple[str, ...]:
        return tuple(shlex.split(self.environ.get("HOLDFAST_SCRIPTED_TOOL", TOOL)))

    def _tool(self, *arguments: str, needed: bool = True) -> str:
        """Call a tool and print what it says; return it, or nothing where it failed."""
        try:
            said = self._call((*self._command, *arguments))
        except (OSError, subprocess.CalledProcessError) as error:
            say(f"{arguments[0]}: {error}")
            if needed:
                _leave(TOOL_FAILED)
            return ""
        if said.strip():
            say(said.strip())
        return said

    def _beat(self) -> None:
        while not self.muted.wait(self.beat_s):
            self._tool("heartbeat", needed=False)

    def _call(self, argv: tuple[str, ...]) -> str:
        """Run a program; what it says on its standard error is printed."""
        return subprocess.run(
            argv, cwd=self.folder, check=True, text=True, stdout=subprocess.PIPE
        ).stdout

    def _hang(self, _rest: str) -> None:
        self.muted.set()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _for_ever()


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def _for_ever() -> None:
    while True:
        signal.pause()


def _leave(code: int) -> NoReturn:
    """Exit at once, whichever thread this is, also amid a line that is being written."""
    with suppress(RuntimeError):  # a handler of signals may not flush what its own thread writes
        sys.stdout.flush()
    os._exit(code)


def main(arguments: list[str]) -> int:
    """Carry out the script of a prompt file; return the exit code."""
    if arguments[:1] != ["--prompt"] or len(arguments) != 2:  # noqa: PLR2004  the flag and its file
        say("usage: python -m holdfast.machine.agents.scripted --prompt FILE")
        return BAD_SCRIPT
    signal.signal(signal.SIGTERM, lambda *_: _leave(DRAINED))
    environ = dict(os.environ)
    order = read_prompt(Path(arguments[1]).read_text(encoding="utf-8"), environ)
    try:
        return Scripted(order, Path.cwd(), environ).play()
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        say(f"failed: {error}")
        return FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
