"""The command line: one module per noun, of which only the one used is loaded.

Exit codes: 0 done, 1 refused or failed, 2 wrong command line, 3 no plane answers, 4 not found, 5
accepted but not done when the waiting ended, 130 interrupted.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

import typer

from holdfast.kernel.failure import install, outline

COMMANDS: Final = {
    "up": "holdfast.cli.up:up",
    "down": "holdfast.cli.up:down",
    "serve": "holdfast.cli.up:serve",
    "link": "holdfast.cli.up:link",
    "restore": "holdfast.cli.backup:restore",
    "doctor": "holdfast.cli.doctor:doctor",
    "version": "holdfast.cli.doctor:version",
    "costs": "holdfast.cli.costs:costs",
}
NOUNS: Final = {
    "instance": "holdfast.cli.instance:app",
    "budget": "holdfast.cli.budget:app",
    "pairing": "holdfast.cli.pairing:app",
    "consent": "holdfast.cli.consent:app",
    "observer": "holdfast.cli.observer:app",
    "nodes": "holdfast.cli.nodes:app",
    "agents": "holdfast.cli.agents:app",
    "rehearse": "holdfast.cli.rehearse:app",
    "quarantine": "holdfast.cli.quarantine:app",
    "operation": "holdfast.cli.quarantine:operations",
    "account": "holdfast.cli.accounts:app",
    "token": "holdfast.cli.tokens:app",
    "backup": "holdfast.cli.backup:app",
    "keys": "holdfast.cli.keys:app",
    "brain": "holdfast.cli.brain:app",
    "brain-key": "holdfast.cli.brain_keys:app",
}
HELP: Final = """Run fleets of always-on agents: one machine each, supervised, explained.

Exit codes: 0 done, 1 refused or failed, 2 wrong command line, 3 no plane answers, 4 no such
thing, 5 accepted but not done when the waiting ended, 130 interrupted.
"""


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


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    words = list(sys.argv[1:] if argv is None else argv)
    install(sys.stderr.write, threading)
    try:
        make_app(words[0] if words else "")(words, prog_name="holdfast")
    except Exception as error:  # noqa: BLE001  prints types and places, never a secret
        sys.stderr.write(f"error: a fault of holdfast's own: {outline(error)}\n")
        sys.stderr.write("  fix: report it with the lines above; no value is in them\n")
        sys.exit(1)
    finally:
        connection = sys.modules.get("holdfast.cli.connection")
        if connection is not None:
            connection.close_all()


def _nothing() -> None:
    """Do nothing before a command."""


def _load(path: str) -> Any:
    """Return the object at a path `module:name`."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


if __name__ == "__main__":
    main()
