"""The machine's two credentials, looked up again each time one is needed.

They can change while the machine runs, so whoever sends a request asks for them just before. A
file, when there is one, wins over what the environment said at the start, and is read again when
it changes. A file that cannot be read leaves the last good ones in force: it may be half written.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec

from holdfast.kernel.secret import Secret
from holdfast.machine.controller.log import Log


class Pair(NamedTuple):
    """The key that proves the owner and the token that proves the machine."""

    api_key: Secret
    gateway_token: Secret

    @property
    def complete(self) -> bool:
        """Return whether both are there."""
        return bool(self.api_key) and bool(self.gateway_token)


class _File(msgspec.Struct, rename="camel", frozen=True):
    api_key: str
    gateway_token: str


class Credentials:
    """Where the credentials are looked up."""

    def __init__(self, given: Pair, file: Path | None, log: Log) -> None:
        """Begin with those of the environment; `file` is JSON {apiKey, gatewayToken}."""
        self._pair = given
        self._file = file
        self._log = log
        self._seen: tuple[int, int, int] | None = None

    def current(self) -> Pair:
        """Return the credentials that are in force now."""
        if self._file is not None:
            self._refresh(self._file)
        return self._pair

    def _refresh(self, file: Path) -> None:
        try:
            stat = file.stat()
            seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if seen == self._seen:
                return
            found = msgspec.json.decode(file.read_bytes(), type=_File)
        except (OSError, msgspec.DecodeError) as error:
            # The text of the error may quote the file, so only its kind is told.
            self._log.emit("credentials.unreadable", path=str(file), error=type(error).__name__)
            return
        self._seen = seen
        self._pair = Pair(Secret(found.api_key), Secret(found.gateway_token))
        self._log.emit("credentials.read", path=str(file))
