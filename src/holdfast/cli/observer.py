"""`holdfast observer`: what is done on the machine that is observed, as the user of its observer.

The same as `python -m holdfast.machine.observer`, where the command line is installed.
"""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    help="On an observed machine: what would be sent, its key, and who may open what it seals.",
)


@app.command()
def preview(
    days: Annotated[int, typer.Option(min=0, help="Of so many days; 0 for everything.")] = 0,
) -> None:
    """Print what would be sent of each class; nothing leaves the machine."""
    _run("preview", "--days", str(days))


@app.command()
def keys() -> None:
    """Show the id of this machine's content key, to compare with the one on pages."""
    _run("keys")


@app.command()
def enroll(
    fingerprint: Annotated[str, typer.Argument(help="As the browser shows it.")],
) -> None:
    """Seal this machine's content key to the browser with this fingerprint."""
    _run("enroll", fingerprint)


def _run(*words: str) -> None:
    from holdfast.machine.observer.__main__ import main  # noqa: PLC0415  heavy, and for this only

    raise typer.Exit(main(list(words)))
