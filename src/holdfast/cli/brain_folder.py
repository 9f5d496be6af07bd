"""The brain folder of a command."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

BrainFolder = Annotated[
    Path | None,
    typer.Option("--brain", help="The brain's folder; BRAIN_DIR, else ~/.holdfast/brain."),
]


def brain_folder(given: Path | None) -> Path:
    """Return the absolute path of the folder that a command is about."""
    named = given or Path(os.environ.get("BRAIN_DIR") or Path.home() / ".holdfast" / "brain")
    return named.expanduser().absolute()
