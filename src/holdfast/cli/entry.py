"""The entry point of `holdfast`: the command line, or its subset with only the SDK installed."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Final

_BARE: Final = ("doctor", "sync")
"""Subcommands of `holdfast brain` that need only the standard library."""


def main() -> None:
    """Run the command line; print what is missing if it cannot run."""
    if find_spec("typer") is not None:
        from holdfast.cli.main import main as run  # noqa: PLC0415  only where it can be loaded

        run()
        return
    words = sys.argv[1:]
    if len(words) > 1 and words[0] == "brain" and words[1] in _BARE:
        from holdfast.sdk.__main__ import main as bare  # noqa: PLC0415  as above

        sys.exit(bare(words[1:]))
    sys.exit(
        "holdfast: only the SDK is installed here. The command line comes with\n"
        "  pip install 'holdfast[plane]'\n"
        "Without it: holdfast brain doctor --brain FOLDER, holdfast brain sync --brain FOLDER"
    )
