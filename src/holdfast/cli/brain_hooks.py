"""`holdfast brain install` and `uninstall`: recording through the hooks of agents."""

from __future__ import annotations

import difflib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from holdfast.cli.brain_folder import BrainFolder, brain_folder
from holdfast.cli.output import fail, say
from holdfast.cli.wiring import agents
from holdfast.cli.wiring import install as wiring
from holdfast.cli.wiring import legacy as old
from holdfast.cli.wiring.edits import WiringError
from holdfast.sdk import doctor as looking
from holdfast.sdk import hook_tally

CRONTAB_S: Final = 10
_NAMES: Final = "claude-code, codex, gemini, cursor, hermes, opencode, openclaw"
Agent = Annotated[str, typer.Option("--agent", help=f"One of {_NAMES}.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would change; write nothing.")]
Legacy = Annotated[
    bool | None,
    typer.Option(
        "--remove-legacy/--keep-legacy",
        help="Remove or keep an older set-up's sync hooks; default: ask on a terminal, else keep.",
    ),
]


def install(
    agent: Agent,
    brain: BrainFolder = None,
    dry_run: DryRun = False,
    legacy: Legacy = None,
) -> None:
    """Wire recording into an agent's own hooks; it changes one entry and nothing else.

    Nothing that synchronises is written: corrections leave the machine by themselves.
    """
    row = _row(agent)
    folder = brain_folder(brain)
    command = agents.hook_command(sys.executable, row.name, folder)
    try:
        changes = wiring.plan_install(row, _places(), command)
    except WiringError as error:
        fail(str(error))
    _carry_out(changes, dry_run=dry_run, nothing=f"{row.name} records into {folder} already.")
    if changes and not dry_run:
        say(f"{row.name} records into {folder}. `holdfast brain uninstall --agent {agent}` undoes.")
        if row.hint:
            say(f"Note: {row.hint}.")
    if isinstance(row, agents.Edited):
        _clean_up(row, dry_run=dry_run, legacy=legacy)


def uninstall(agent: Agent, dry_run: DryRun = False) -> None:
    """Take the recording hook out of an agent's settings; its corrections stay."""
    row = _row(agent)
    try:
        changes = wiring.plan_uninstall(row, _places())
    except WiringError as error:
        fail(str(error))
    left = wiring.left_over(row, _places())
    _carry_out(changes, dry_run=dry_run, nothing="" if left else f"{agent} has no hook of ours.")
    for place in left:
        say(f"Left as it is, because it was changed by hand: {place}")
    if left:
        fail(f"{agent} may still record", fix="take that out by hand")
    if any(not change.ours for change in changes) and not dry_run:
        say(f"{agent} records no more.")


def checks(folder: Path) -> list[looking.Check]:
    """Return a warning for each hook that is installed for a brain and cannot record."""
    called = hook_tally.read(folder)
    found = []
    for row in agents.AGENTS:
        for path, command in wiring.installed(row, _places()):
            if _brain_of(command) == folder and (why := _silent(row, command, called, path)):
                found.append(looking.Check("hook", looking.WARN, f"{row.name}, {path}: {why}"))
    return found


def _brain_of(command: list[str]) -> Path | None:
    at = command.index("--brain") + 1 if "--brain" in command else len(command)
    return Path(command[at]).expanduser().absolute() if at < len(command) else None


def _silent(
    row: agents.Edited | agents.Owned,
    command: list[str],
    called: dict[str, hook_tally.Tally],
    path: Path,
) -> str:
    """Return why a hook that is installed records nothing, empty if it may well."""
    again = f"holdfast brain install --agent {row.name}"
    if shutil.which(command[0]) is None:
        return f"its program {command[0]} is gone; {again}"
    if isinstance(row, agents.Edited) and (switch := wiring.switched_off(row, path)):
        return f"{switch} is set, so the agent runs no hook"
    if row.name in called:
        return ""
    hint = f" ({row.hint})" if row.hint else ""
    return (
        "installed, and no call has arrived yet. Have the agent edit a file; if that records"
        f" nothing, restart it{hint}"
    )


def _row(name: str) -> agents.Edited | agents.Owned:
    row = agents.find(name)
    if row is None:
        fail(f"--agent: no agent called {name!r} is known", fix=f"one of {_NAMES}")
    return row


def _places() -> dict[str, str]:
    return {**os.environ, "HOME": str(Path.home())}


def _carry_out(changes: list[wiring.Change], *, dry_run: bool, nothing: str) -> None:

    if not any(not change.ours for change in changes) and nothing:
        say(nothing)
    if dry_run:
        for change in changes:
            if not change.ours:
                print(_difference(change), end="")
        return
    try:
        wiring.carry_out(changes)
    except WiringError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}")


def _difference(change: wiring.Change) -> str:
    before = (change.before or "").splitlines(keepends=True)
    after = (change.after or "").splitlines(keepends=True)
    return "".join(difflib.unified_diff(before, after, str(change.path), str(change.path)))


def _clean_up(row: agents.Edited, *, dry_run: bool, legacy: bool | None) -> None:
    """Print what an older set-up left, and remove it if the person agrees."""
    found = old.find(row, _places())
    table = _crontab()
    lines = old.cron_lines(table)
    for one in found:
        say(f"An older set-up left in {one.path}, {'.'.join(one.keys)}: {one.text}")
        if not one.removable:
            say("  It stands beside other work in one entry: take it out by hand.")
    for line in lines:
        say(f"An older set-up left in the crontab: {line}")
    if not found and not lines:
        return
    if legacy is None:
        legacy = sys.stdin.isatty() and typer.confirm("Take it out?", default=True)
    if not legacy:
        say(
            "Kept. Nothing needs it: corrections leave by themselves. --remove-legacy takes it out."
        )
        return
    changes = wiring.plan_legacy(row, _places())
    if changes:
        _carry_out(changes, dry_run=dry_run, nothing="")
    if lines and not dry_run:
        _write_crontab([line for line in table.split("\n") if line not in lines])
    if not dry_run:
        say("Taken out.")


def _crontab() -> str:
    """Return the person's cron lines, empty if there are none or no cron.

    Bytes that are not UTF-8 are kept as `surrogateescape` has them.
    """
    program = shutil.which("crontab")
    if program is None:
        return ""
    try:
        answer = subprocess.run(  # noqa: S603  the program that PATH names, fixed words
            (program, "-l"), capture_output=True, check=False, timeout=CRONTAB_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return os.fsdecode(answer.stdout) if answer.returncode == 0 else ""


def _write_crontab(lines: list[str]) -> None:
    try:
        subprocess.run(  # noqa: S603  as above
            (shutil.which("crontab") or "crontab", "-"),
            input=os.fsencode("\n".join(lines)), check=True, timeout=CRONTAB_S,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        fail(f"the crontab could not be written: {error}", fix="crontab -e")
