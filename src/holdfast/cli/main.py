"""The command line: one module per noun, of which only the one used is loaded.

Exit codes: 0 done, 1 refused or failed, 2 wrong command line, 3 no plane answers, 4 not found, 5
accepted but not done when the waiting ended, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Annotated, Any, Final, NoReturn, TextIO

import typer

from holdfast.cli.process import is_text, name_user, open_streams
from holdfast.kernel.failure import install, outline, reason

COMMANDS: Final = {
    "up": "holdfast.cli.up:up",
    "down": "holdfast.cli.up:down",
    "serve": "holdfast.cli.up:serve",
    "link": "holdfast.cli.up:link",
    "restore": "holdfast.cli.backup:restore",
    "doctor": "holdfast.cli.doctor:doctor",
    "version": "holdfast.cli.doctor:version",
    "costs": "holdfast.cli.costs:costs",
    "charts": "holdfast.cli.charts:charts",
    "sling": "holdfast.cli.bead:sling",
}
NOUNS: Final = {
    "instance": "holdfast.cli.instance:app",
    "bulk": "holdfast.cli.bulk:app",
    "budget": "holdfast.cli.budget:app",
    "pairing": "holdfast.cli.pairing:app",
    "consent": "holdfast.cli.consent:app",
    "town": "holdfast.cli.town:app",
    "rig": "holdfast.cli.rig:app",
    "bead": "holdfast.cli.bead:app",
    "convoy": "holdfast.cli.convoy:app",
    "observer": "holdfast.cli.observer:app",
    "nodes": "holdfast.cli.nodes:app",
    "agents": "holdfast.cli.agents:app",
    "image": "holdfast.cli.image:app",
    "rehearse": "holdfast.cli.rehearse:app",
    "quarantine": "holdfast.cli.quarantine:app",
    "operation": "holdfast.cli.quarantine:operations",
    "account": "holdfast.cli.accounts:app",
    "person": "holdfast.cli.people:app",
    "token": "holdfast.cli.tokens:app",
    "audit": "holdfast.cli.audit:app",
    "backup": "holdfast.cli.backup:app",
    "keys": "holdfast.cli.keys:app",
    "brain": "holdfast.cli.brain:app",
    "lesson": "holdfast.cli.lessons:app",
    "brain-key": "holdfast.cli.brain_keys:app",
}
HELP: Final = """Run fleets of always-on agents: one machine each, supervised, explained.

Exit codes: 0 done, 1 refused or failed, 2 wrong command line, 3 no plane answers, 4 no such
thing, 5 accepted but not done when the waiting ended, 130 interrupted.
"""


def _version(asked: bool) -> None:
    """Print the version where that is asked for, and end."""
    if asked:
        _load(COMMANDS["version"])()
        raise typer.Exit


def make_app(only: str = "") -> typer.Typer:
    """Return the whole command line, or the part of it that begins with the word `only`."""
    app = typer.Typer(
        name="holdfast",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback(help=HELP)(_nothing)  # with it a single command keeps its name
    known = only in COMMANDS or only in NOUNS
    for name, path in COMMANDS.items():
        if name == only or not known:
            app.command(name)(_load(path))
    for name, path in NOUNS.items():
        if name == only or not known:
            app.add_typer(_load(path), name=name)
    return app


@cache
def _command(only: str) -> Any:
    """Return what runs a command line; a process that runs many, as tests do, makes it once."""
    return typer.main.get_command(make_app(only))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    words = list(sys.argv[1:] if argv is None else argv)
    open_streams()
    name_user()
    install(sys.stderr.write, threading)
    for number, word in enumerate(words, 1):
        if not is_text(word):
            _end(f"argument {number} is not UTF-8", "type it in a terminal that uses UTF-8", 2)
    first = words[0] if words else ""
    try:
        _command(first if first in COMMANDS or first in NOUNS else "")(words, prog_name="holdfast")
    except Exception as error:  # noqa: BLE001  prints types and places, never a secret
        _end_unwritten()
        told = f"a fault of holdfast's own: {outline(error)}"
        _end(told, "report it with the lines above; no value is in them", 1)
    finally:
        connection = sys.modules.get("holdfast.cli.connection")
        if connection is not None:
            connection.close_all()
        _end_unwritten()


def _end_unwritten() -> None:
    """End with an error when the output cannot be written, such as on a full disk."""
    _flush(sys.stderr)
    if error := _flush(sys.stdout):
        _end(f"the output cannot be written: {reason(error)}", "make room, or write elsewhere", 1)


def _flush(stream: TextIO) -> OSError | None:
    """Write what is buffered; drop what cannot be, and return why.

    It would fail again when the interpreter ends, which then ends with 120.
    """
    try:
        stream.flush()
    except OSError as error:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None


def _end(message: str, fix: str, code: int) -> NoReturn:
    """Exit with an error, also where not even that can be written."""
    with suppress(OSError):
        sys.stderr.write(f"error: {message}\n  fix: {fix}\n")
    _flush(sys.stderr)
    sys.exit(code)


def _nothing(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version.")
    ] = False,
) -> None:
    """Do nothing before a command."""


def _load(path: str) -> Any:
    """Return the object at a path `module:name`."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


if __name__ == "__main__":
    main()
