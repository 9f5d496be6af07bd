"""`holdfast doctor` and `holdfast version`: is everything well, and what is this."""

from __future__ import annotations

import typer

from holdfast import __version__
from holdfast.cli.connection import connect
from holdfast.cli.output import JSON_OPTION, say, show_json, show_table


def doctor(as_json: bool = JSON_OPTION) -> None:
    """Look at stores, disks, keys and agents, and say what to do."""
    report = connect().call("plane.doctor")
    if as_json:
        show_json(report)
    else:
        rows = ((c.name, c.result, c.message, c.fix) for c in report.checks)
        show_table(("check", "result", "what", "to do"), rows, empty="Nothing was checked.")
        say("All is well." if report.ok else "Something needs a person.")
    if not report.ok:
        raise typer.Exit(1)


def version() -> None:
    """Print the version."""
    print(__version__)
