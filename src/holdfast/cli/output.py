"""Output of the command line: tables for people, JSON for programs, and one way to fail.

Results go to standard output and everything about the run itself (progress, errors, hints) to
standard error, so that a pipe gets only results. With `--json` an answer is printed exactly as the
plane sent it. Colours appear on a terminal only, and never with NO_COLOR.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from typing import Any, Final, NoReturn, Protocol, TextIO

import msgspec
import typer

from holdfast.cli.tables import Column, lay_out
from holdfast.kernel.failure import reason
from holdfast.wire.health import HEALTHS
from holdfast.wire.salvage import damages, first_damages
from holdfast.wire.times import parse_time

EXIT_FAILED: Final = 1
"""Refused or failed; the reason is on standard error."""
EXIT_USAGE: Final = 2
"""The command line itself is wrong."""
EXIT_UNREACHABLE: Final = 3
"""No plane answers at the address."""
EXIT_MISSING: Final = 4
"""Not found, or not visible to the caller."""
EXIT_PENDING: Final = 5
"""Accepted, but not done when the waiting ended."""

JSON_OPTION: Final = typer.Option(False, "--json", help="Print JSON, for programs.")

PIPE_WIDTH: Final = 10_000
"""Line width without a terminal: a program that reads a table needs all of it."""
SHORT_ID: Final = 8
"""Characters shown of an id, unless two shown ids begin alike."""

_STYLES: Final = {
    "red": "31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
    "dim": "2",
    "bold": "1",
}
_TONES: Final = {"ok": "green", "busy": "cyan", "off": "dim", "warn": "yellow", "bad": "red"}
_COLOURS: Final[dict[str, str]] = {
    **{str(code): _TONES[meaning.tone] for code, meaning in HEALTHS.items()},
    "running": "green",
    "provisioned": "cyan",
    "ok": "green",
    "warning": "yellow",
    "failed": "red",
    "lost": "red",
    "refused": "red",
    "quarantined": "red",
}
_UNSEEN: Final = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"
}
_STEPS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


class Progress(Protocol):
    """A line with the current step."""

    def update(self, status: str) -> None:
        """Replace the text."""
        ...


def plain(text: str) -> str:
    """Return a text without terminal control characters: agents' output is shown, never obeyed."""
    return text.translate(_UNSEEN)


def write(text: str) -> None:
    """Print a part of the result as it is; exit with an error where that cannot be written."""
    try:
        sys.stdout.write(text)
    except BrokenPipeError:
        raise  # the reader has seen enough, which ends the command in silence
    except OSError as error:
        why = f"the output cannot be written: {reason(error)}"
        fail(why, fix="make room, or write elsewhere")


def fail(message: str, *, fix: str = "", code: int = EXIT_FAILED) -> NoReturn:
    """Print the error and its remedy, and exit with a code."""
    with suppress(OSError):
        sys.stdout.flush()
    _tell(f"{styled('error:', 'red', sys.stderr)} {plain(message)}\n")
    if fix:
        _tell(f"{styled('  fix:', 'bold', sys.stderr)} {plain(fix)}\n")
    raise typer.Exit(code)


def _tell(text: str) -> None:
    """Write to standard error; what nobody can be told must not change how the command ends."""
    with suppress(OSError):
        sys.stderr.write(text)


def say(message: str, *, style: str = "") -> None:
    """Print a message about the run."""
    _tell(styled(plain(message), style, sys.stderr) + "\n")


def show(message: str, *, style: str = "") -> None:
    """Print a line of the result."""
    write(styled(plain(message), style, sys.stdout) + "\n")


def show_json(value: Any) -> None:
    """Print an answer as indented JSON."""
    write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def show_table(
    columns: Sequence[Column], rows: Iterable[Sequence[str]], *, empty: str, indent: str = ""
) -> None:
    """Print rows under their columns, or a sentence if there are none."""
    listed = [tuple(plain(" ".join(cell.split())) for cell in row) for row in rows]
    if not listed:
        say(empty)
        return
    for line in lay_out(columns, listed, width=_width() - len(indent), paint=_painted):
        write(f"{indent}{line}\n")


def show_list(
    answer: Any,
    columns: Sequence[Column],
    rows: Iterable[Sequence[str]],
    *,
    empty: str,
    as_json: bool,
) -> None:
    """Print an answer as JSON, or its rows as a table and which of them are damaged."""
    if as_json:
        show_json(answer)
        return
    show_table(columns, rows, empty=empty)
    for line in first_damages(damages(answer)):
        say(line, style="red")


def show_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print names and values in two columns, without empty ones."""
    kept = [(name, plain(value)) for name, value in facts if value]
    widest = max((len(name) for name, _ in kept), default=0)
    for name, value in kept:
        label = styled(name.ljust(widest), "dim", sys.stdout)
        write(f"{label}  {_painted(value, value)}\n")


def short_ids(ids: Iterable[str]) -> dict[str, str]:
    """Return each id cut to the fewest characters that distinguish it, at least SHORT_ID."""
    full = set(ids)
    size = SHORT_ID
    longest = max(map(len, full), default=0)
    while size < longest and len({one[:size] for one in full}) < len(full):
        size += 4
    return {one: one[:size] for one in full}


def progress(message: str) -> AbstractContextManager[Progress]:
    """Return a moving line on standard error for the time of a wait."""
    from rich.console import Console  # noqa: PLC0415  slow to load, and only for who waits

    return Console(stderr=True, highlight=False).status(message)


def ago(moment: str | None, *, now: datetime | None = None) -> str:
    """Return the age of an ISO time, in words short enough for a column."""
    if not moment:
        return "never"
    then_ms = parse_time(moment)
    if then_ms is None:
        return moment
    seconds = (now or datetime.now(UTC)).timestamp() - then_ms / 1_000
    for size, unit in _STEPS:
        if abs(seconds) >= size:
            count = f"{abs(seconds) / size:.0f} {unit}"
            return f"in {count}" if seconds < 0 else f"{count} ago"
    return "now"


def styled(text: str, style: str, stream: TextIO) -> str:
    """Return the text in a style, if the stream is a terminal that supports it."""
    code = _STYLES.get(style)
    if code is None or not text or os.environ.get("NO_COLOR") or not stream.isatty():
        return text
    return f"\x1b[{code}m{text}\x1b[0m"


def _painted(bare: str, text: str) -> str:
    """Return a cell in the colour of the status in it, if there is one."""
    return styled(text, _COLOURS.get(bare, ""), sys.stdout)


def _width() -> int:
    """Return the maximum characters of a line."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS"):
        return shutil.get_terminal_size().columns
    return PIPE_WIDTH
