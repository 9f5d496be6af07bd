"""What the command line prints: tables for people, JSON for programs, and one way to fail.

Tables go to standard output and everything about the run itself (progress, errors, hints) to
standard error, so that a pipe gets only what was asked for. With `--json` an answer is printed
exactly as the plane gave it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

EXIT_FAILED: Final = 1
"""It was refused or it failed; the reason is on standard error."""
EXIT_USAGE: Final = 2
"""The command line itself is wrong."""
EXIT_UNREACHABLE: Final = 3
"""No plane answers at the address."""
EXIT_MISSING: Final = 4
"""What was named does not exist, or is not yours to see."""
EXIT_PENDING: Final = 5
"""It was accepted, and was not done when the waiting ended."""

OUT: Final = Console(highlight=False, soft_wrap=True)
ERR: Final = Console(stderr=True, highlight=False)

JSON_OPTION: Final = typer.Option(False, "--json", help="Print JSON, for programs.")

_COLOURS: Final = {
    "running": "green",
    "starting": "yellow",
    "restarting": "yellow",
    "stopped": "dim",
    "provisioned": "cyan",
    "destroying": "red",
    "ok": "green",
    "warning": "yellow",
    "failed": "red",
    "lost": "red",
}
_STEPS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def fail(message: str, *, fix: str = "", code: int = EXIT_FAILED) -> NoReturn:
    """Say what went wrong and what to do about it, and end with an exit code."""
    ERR.print(Text.assemble(("error: ", "bold red"), message))
    if fix:
        ERR.print(Text.assemble(("  fix: ", "bold"), fix))
    raise typer.Exit(code)


def say(message: str) -> None:
    """Tell the person something about the run."""
    ERR.print(message)


def show_json(value: Any) -> None:
    """Print an answer as indented JSON."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """Print rows under their columns, or say why there are none."""
    listed = list(rows)
    if not listed:
        say(empty)
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in {"id", "name"})
    for row in listed:
        table.add_row(*(coloured(cell) for cell in row))
    OUT.print(table)


def show_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print names and values in two columns, leaving out what is empty."""
    table = Table.grid(padding=(0, 2))
    for name, value in facts:
        if value:
            table.add_row(Text(name, style="dim"), coloured(value))
    OUT.print(table)


def coloured(cell: str) -> Text:
    """Return a cell in the colour of the status it names, if it names one."""
    return Text(cell, style=_COLOURS.get(cell, ""))


def ago(moment: str | None, *, now: datetime | None = None) -> str:
    """Return how long ago an ISO time was, in words short enough for a column."""
    if not moment:
        return "never"
    then = datetime.fromisoformat(moment)
    seconds = ((now or datetime.now(UTC)) - then).total_seconds()
    for size, unit in _STEPS:
        if abs(seconds) >= size:
            count = f"{abs(seconds) / size:.0f} {unit}"
            return f"in {count}" if seconds < 0 else f"{count} ago"
    return "now"
