"""NAME=VALUE arguments of a command line, and secrets, which are read from elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from holdfast.cli.output import EXIT_USAGE, fail
from holdfast.kernel.failure import reason


def parse_pairs(pairs: tuple[str, ...] | list[str], *, option: str) -> dict[str, str]:
    """Return NAME=VALUE texts as a mapping."""
    values: dict[str, str] = {}
    for number, pair in enumerate(pairs, 1):
        key, equals, value = pair.partition("=")
        if not equals or not key:  # it is not quoted: it may be a secret that was meant as VALUE
            fail(f"{option}, number {number}: want NAME=VALUE", code=EXIT_USAGE)
        values[key] = value
    return values


def read_secrets(pairs: tuple[str, ...] | list[str], *, option: str = "--secret") -> dict[str, str]:
    """Return secrets read from standard input (`NAME=-`) or files (`NAME=@FILE`).

    A secret on the command line itself would be visible to every user of the machine and stay in
    the shell's history, so it is refused.
    """
    values: dict[str, str] = {}
    for key, source in parse_pairs(pairs, option=option).items():
        if source == "-":
            if sys.stdin.isatty():
                values[key] = typer.prompt(key, hide_input=True, err=True)
            else:
                values[key] = sys.stdin.readline().rstrip("\n")
        elif source.startswith("@"):
            try:
                values[key] = Path(source[1:]).read_text(encoding="utf-8").rstrip("\n")
            except (OSError, UnicodeDecodeError) as error:
                fail(f"{option} {key}: {reason(error)}: {source[1:]}")
        else:
            fail(
                f"{option} {key}: a secret does not belong on the command line",
                fix=f"{option} {key}=- reads it from standard input, {key}=@FILE from a file",
                code=EXIT_USAGE,
            )
        if not values[key]:
            fail(f"{option} {key}: it is empty", code=EXIT_USAGE)
    return values
