"""Versions and ledger on disk, below the controller's own folder.

A version's text is stored under its etag. An unreadable ledger is set aside and logged, and an
empty one is started: losing verdicts must not prevent changes. Everything here blocks; call it in a
thread.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from holdfast.disk.durable_file import move
from holdfast.kernel.failure import OperationError
from holdfast.machine.controller.config.document import CONFIG_BYTES_MAX
from holdfast.machine.controller.config.history import Ledger
from holdfast.machine.controller.process import atomic_file
from holdfast.wire.parsers import json_as

LEDGER_FILE: Final = "ledger.json"
_LEDGER_BYTES_MAX: Final = 1_048_576


class VersionFiles:
    """Stores texts and the ledger in one folder of mode 0700."""

    def __init__(self, folder: Path, *, on_damage: Callable[[str], None]) -> None:
        """Store in `folder`; `on_damage` gets the reason when a ledger is set aside."""
        self._folder = folder
        self._on_damage = on_damage

    def load(self) -> Ledger:
        """Return the stored ledger; raise OSError."""
        atomic_file.make_folder(self._folder)
        path = self._folder / LEDGER_FILE
        try:
            return json_as(Ledger, atomic_file.read_file(path, _LEDGER_BYTES_MAX))
        except FileNotFoundError:
            return Ledger()
        except (msgspec.MsgspecError, RecursionError) as error:
            move(path, path.with_suffix(".damaged"))
            self._on_damage(type(error).__name__)
            return Ledger()

    def save(self, ledger: Ledger) -> None:
        """Write the ledger and delete texts that it does not name; raise OSError."""
        content = msgspec.json.encode(ledger)
        with atomic_file.open_folder(self._folder) as folder:
            over = self._read(folder, LEDGER_FILE, _LEDGER_BYTES_MAX)
            if not atomic_file.put(folder, LEDGER_FILE, content, over=over):
                raise OperationError(f"{LEDGER_FILE}: another process writes it too")
        named = {version.etag for version in ledger.versions}
        for path in self._folder.iterdir():
            if not path.suffix and path.name not in named:
                path.unlink(missing_ok=True)

    def keep(self, etag: str, raw: bytes) -> None:
        """Store a text under its etag; raise OSError."""
        with atomic_file.open_folder(self._folder) as folder:
            atomic_file.put(folder, etag, raw, over=None)

    def text(self, etag: str) -> bytes | None:
        """Return a stored text, None if it is gone."""
        with atomic_file.open_folder(self._folder) as folder:
            return self._read(folder, etag, CONFIG_BYTES_MAX)

    @staticmethod
    def _read(folder: int, name: str, limit: int) -> bytes | None:
        try:
            return atomic_file.read(folder, name, limit)
        except FileNotFoundError:
            return None
