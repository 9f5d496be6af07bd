"""Rewrites an agent's loopback addresses in `Location` to the public ones. Pure."""

from __future__ import annotations

import re
from typing import Final

from holdfast.relay import http1

_LOOPBACK: Final = re.compile(
    rb"(?i)(?:http:)?//(?:127(?:\.[0-9]{1,3}){3}|localhost|\[::1\]):([0-9]{1,5})(?=[/?#]|$)"
)
_ELSEWHERE: Final = re.compile(rb"/\t*[/\\]")
"""Beginnings that a browser takes for another host's address."""


def own_paths(headers: http1.Headers, port: int) -> http1.Headers:
    """Return an answer's headers with the agent's own loopback address removed from `Location`.

    It listens on `port` of loopback, which the caller cannot reach or which is another program's
    there; the path alone is the same place for the caller. Any other location is unchanged.
    """
    return [
        (name, _own_path(value, port) if name == b"location" else value) for name, value in headers
    ]


def _own_path(location: bytes, port: int) -> bytes:
    found = _LOOPBACK.match(location)
    if found is None or int(found[1]) != port:
        return location
    path = location[found.end() :]
    if path[:1] != b"/":
        path = b"/" + path
    return b"/." + path if _ELSEWHERE.match(path) else path
