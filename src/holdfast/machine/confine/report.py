"""Reports from inside a sandbox: the program's process id, and how it ended.

Bubblewrap's own process is not the program: a signal to it kills without a drain, and it turns
every death into a code above 128. The kernel translates the sender's process id to ours.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
from contextlib import suppress
from typing import Final

from holdfast.machine.confine.landlock import FIRST, GO, HERE

_CREDENTIALS: Final = struct.Struct("3i")
_MESSAGE_BYTES: Final = 64
_SHELL_SIGNAL: Final = 128
"""Bubblewrap adds this to the number of the signal that ended its first process."""


class Report:
    """Our end of the socket, non-blocking; `theirs` is passed to the sandbox."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._ours.setblocking(False)  # noqa: FBT003  its only argument
        self._waiting: list[int] = []
        self._first: int | None = None
        self._process: int | None = None
        self._status: int | None = None
        self.pid: int | None = None

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._ours.fileno()

    def take(self) -> bool:
        """Read what has arrived; return False at the end of the stream."""
        while True:
            try:
                message, extra, _, _ = self._ours.recvmsg(
                    _MESSAGE_BYTES, socket.CMSG_SPACE(_CREDENTIALS.size)
                )
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not message:
                return False
            self._receive(message, extra)

    def send(self, number: int) -> None:
        """Send the program a signal, as soon as its id is known; does nothing after its end."""
        if self._process is None:
            if self.pid is None:
                self._waiting.append(number)
        else:
            with suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(self._process, number)

    @property
    def lingering(self) -> int | None:
        """Return a descriptor that is readable once the whole sandbox has ended, None if it has."""
        if self._first is None or select.select([self._first], [], [], 0)[0]:
            return None
        return self._first

    @property
    def began(self) -> bool:
        """Return whether the sandbox was made and the program started."""
        return self.pid is not None

    @property
    def ended(self) -> bool:
        """Return whether the program's exit status is known."""
        return self._status is not None

    def code(self, sandbox: int) -> int:
        """Return how the program ended, -n for signal n; `sandbox` is bubblewrap's status.

        Without a report of its own the program was ended together with its sandbox.
        """
        if self._status is not None:
            return os.waitstatus_to_exitcode(self._status)
        return _SHELL_SIGNAL - sandbox if sandbox > _SHELL_SIGNAL else sandbox

    def close(self) -> None:
        """Close all descriptors."""
        self._ours.close()
        self.theirs.close()
        for handle in (self._first, self._process):
            if handle is not None:
                os.close(handle)
        self._first = self._process = None

    def _receive(self, message: bytes, extra: list[tuple[int, int, bytes]]) -> None:
        sender = _CREDENTIALS.unpack_from(extra[0][2])[0] if extra else 0
        if message == FIRST and self._first is None and sender:
            with suppress(OSError):
                self._first = os.pidfd_open(sender)
        elif message == HERE and self.pid is None and sender:
            self.pid = sender
            # It waits for our answer, so it still runs and its process id is not reused.
            with suppress(OSError):
                self._process = os.pidfd_open(sender)
                self._ours.send(GO)
            for number in self._waiting:
                self.send(number)
        elif message.isdigit() and self._status is None:
            self._status = int(message) & 0xFFFF
