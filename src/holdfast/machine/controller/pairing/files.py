"""Reading the agent's files without trusting them: what is no plain file, or too large, is refused.

The agent may put anything in its own folders; a pipe in place of a file must not hold a thread.
"""

from __future__ import annotations

import json
import os
import stat
from typing import Any, NoReturn

from holdfast.machine.controller.pairing.limits import FILE_BYTES_MAX


def read_plain(path: str) -> bytes:
    """Return a plain file's content; raise OSError, and ValueError for what is none or too large.

    Where a link leads is read: what is shown of it is chosen field by field.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            message = "not a plain file"
            raise ValueError(message)
        content = file.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        message = f"longer than {FILE_BYTES_MAX} bytes"
        raise ValueError(message)
    return content


def read_json(path: str) -> Any:
    """Return what a file says as JSON; raise OSError and ValueError."""
    return json.loads(read_plain(path), parse_constant=_refuse)


def _refuse(name: str) -> NoReturn:
    message = f"{name} is no JSON"
    raise ValueError(message)
