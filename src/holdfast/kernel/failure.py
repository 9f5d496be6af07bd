"""Describes an exception without its text: by its type and where it was raised.

The text of an exception may quote a secret: a header's value, a URL with a password, an environment
variable. So our programs print an unexpected exception with `outline`, or in one line with `brief`,
and the system's error for a file or a connection with `reason`. Our own errors have texts that are
meant to be shown: `brief` returns them. Where we refuse for callers that handle OSError, we raise
`OperationError`: the text of a plain OSError is not shown, whoever raised it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

FRAMES_MAX: Final = 40
"""Frames printed of one exception, the innermost ones."""

CHAIN_MAX: Final = 8
"""Exceptions printed of one chain, the newest ones."""

_OURS: Final = "holdfast"
"""The package whose exceptions have texts meant to be shown."""

_PARTS: Final = 3
"""Last components printed of a file's path: `holdfast/cli/client.py`."""


_PASSING: Final = (
    "No space left on device", "quota exceeded", "Cannot allocate memory", "ut of memory",
    "Input/output error", "Read-only file system", "Too many open files", "died of signal",
    "Resource temporarily unavailable", "timed out",
)  # fmt: skip
"""What programs print in the locale C when the system lacks something."""


class OperationError(OSError):
    """An operation on a file, a process or a connection failed; its only argument is our text."""


def outline(error: BaseException) -> str:
    """Return the types and places of an exception and of its causes, the newest first."""
    told: list[str] = []
    link: BaseException | None = error
    while link is not None and len(told) < CHAIN_MAX:
        lines = [_type_of(link), *(f"  {at}" for at in _places(link.__traceback__))]
        told.append("\n".join(lines))
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "\nafter ".join(told)


def brief(error: BaseException) -> str:
    """Return one line: the text of an error of ours; of another, its type, `reason` and place."""
    at = "" if _is_ours(error) else place(error)
    return f"{fixed(error)} at {at}" if at else fixed(error)


def fixed(error: BaseException) -> str:
    """Return `brief` without the place, which a later version of the code or of Python changes."""
    kind = type(error)
    if _is_ours(error):
        return str(error) or kind.__name__
    told, said = _type_of(error), reason(error)
    return told if said == kind.__name__ else f"{told}: {said}"


def place(error: BaseException) -> str:
    """Return the innermost place of ours in a traceback, else where the exception was caught."""
    link, at = error.__traceback__, ""
    while link is not None:
        module = str(link.tb_frame.f_globals.get("__name__", ""))
        if not at or module.partition(".")[0] == _OURS:
            at = _place(link)
        link = link.tb_next
    return at


def reason(error: BaseException) -> str:
    """Return the system's fixed text for a failure (`strerror`, TLS reason), else the type.

    Of an OperationError it is the text.
    """
    if isinstance(error, OperationError):
        return str(error)
    import_of_ssl = sys.modules.get("ssl")  # an SSLError exists only if it is loaded
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


def may_pass(text: str) -> bool:
    """Return whether what a program printed says that the system lacked something, as a full disk.

    The same may succeed later.
    """
    return any(words in text for words in _PASSING)


def install(write: Callable[[str], object], threading: Any) -> None:
    """Write the outline of every uncaught exception of this process with `write`.

    `threading` is the module of that name, passed in because the kernel package imports no module
    that starts threads.
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


def _is_ours(error: BaseException) -> bool:
    """Return whether a class of ours was raised."""
    return type(error).__module__.partition(".")[0] == _OURS


def _type_of(error: BaseException) -> str:
    """Return an exception's type, with its errno if it has one."""
    number = error.errno if isinstance(error, OSError) else None
    kind = type(error)
    within = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    name = within + kind.__qualname__
    return name if number is None else f"{name} [errno {number}]"


def _places(traceback: TracebackType | None) -> list[str]:
    found: list[str] = []
    while traceback is not None:
        found.append(_place(traceback))
        traceback = traceback.tb_next
    return found[-FRAMES_MAX:]


def _place(traceback: TracebackType) -> str:
    code = traceback.tb_frame.f_code
    file = "/".join(code.co_filename.split("/")[-_PARTS:])
    return f"{file}:{traceback.tb_lineno} in {code.co_name}"
