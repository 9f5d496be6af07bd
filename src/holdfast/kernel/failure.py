"""What may be told of an exception: its type and where it was raised, never its text.

The text of an exception quotes what it failed on: a header's value, a URL with a password, a
variable of the environment. So programs of ours show an unexpected one by `outline`, and what the
system said of a file or a connection by `reason`. Errors of our own are raised with texts that are
made to be shown, and are not sent through here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

FRAMES_MAX: Final = 40
"""Places of one exception that are told, the last ones."""

CHAIN_MAX: Final = 8
"""Exceptions of one chain that are told, the newest ones."""

_PARTS: Final = 3
"""How much of a file's path is told: `holdfast/cli/client.py`."""


def outline(error: BaseException) -> str:
    """Return types and places of an exception and what led to it, the newest first."""
    told: list[str] = []
    link: BaseException | None = error
    while link is not None and len(told) < CHAIN_MAX:
        lines = [_type_of(link), *(f"  {place}" for place in _places(link.__traceback__))]
        told.append("\n".join(lines))
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "\nafter ".join(told)


def reason(error: BaseException) -> str:
    """Return what the system says of a failure, in its own fixed words, else the type."""
    import_of_ssl = sys.modules.get("ssl")  # an error of it means that it is loaded
    if import_of_ssl is not None and isinstance(error, import_of_ssl.SSLError):
        # `verify_message` may name the host that was asked for; the reason is a fixed word.
        code = getattr(error, "verify_code", None)
        about = f" (X.509 code {code})" if code else ""
        said = str(getattr(error, "reason", None) or "failed").lower().replace("_", " ")
        return f"TLS: {said}{about}"
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return error.strerror
    return type(error).__name__


def install(write: Callable[[str], object], threading: Any) -> None:
    """Have this process tell of exceptions that nobody caught by `write`, as outlines.

    `threading` is the module: only programs load it here, and kernel itself none that does things.
    """

    def show(_kind: type[BaseException], error: BaseException, _at: TracebackType | None) -> None:
        if not isinstance(error, KeyboardInterrupt):
            write(f"failed: {outline(error)}\n")

    def show_other(found: Any) -> None:
        if found.exc_value is not None:
            show(type(found.exc_value), found.exc_value, None)

    sys.excepthook = show
    sys.unraisablehook = show_other
    threading.excepthook = show_other


def _type_of(error: BaseException) -> str:
    """Return an exception's type, and the number that the system gave it."""
    number = error.errno if isinstance(error, OSError) else None
    kind = type(error)
    within = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    name = within + kind.__qualname__
    return name if number is None else f"{name} [errno {number}]"


def _places(traceback: TracebackType | None) -> list[str]:
    found: list[str] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        file = "/".join(code.co_filename.split("/")[-_PARTS:])
        found.append(f"{file}:{traceback.tb_lineno} in {code.co_name}")
        traceback = traceback.tb_next
    return found[-FRAMES_MAX:]
