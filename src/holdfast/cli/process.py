"""What a command needs of its process, whatever it was started with."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Final

_LAST: Final = 2
"""The last of the standard streams: error output."""
_SURROGATES: Final = ("\ud800", "\udfff")
NO_HOME: Final = "/nonexistent"
"""The home folder of a user without one, as Debian has it: nothing is found or made there."""


def open_streams() -> None:
    """Open what the caller closed of the three standard streams, so that all can be used.

    Otherwise the next file that is opened, such as a store, would be standard output.
    """
    while (opened := os.open(os.devnull, os.O_RDWR)) <= _LAST:
        continue
    os.close(opened)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def name_user() -> None:
    """Give a user whom the system does not know, as in many containers, a name and a home folder.

    What looks for files there finds none and says so; what is asked for by another setting works.
    """
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = NO_HOME
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = f"user-{os.getuid()}"


def is_text(word: str) -> bool:
    """Return whether an argument is a text; bytes that are none cannot be sent or found."""
    return not any(_SURROGATES[0] <= letter <= _SURROGATES[1] for letter in word)
