"""What the inside of a sandbox tells: which process the program is, and how it ended.

Bubblewrap's own process is not the program: a signal to it kills without a drain, and it turns
every death into a number above 128. The kernel translates the sender's process id into ours.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
from contextlib import suppress
from typing import Final

from holdfast.machine.confine.inside import FIRST, GO, HERE

_CREDENTIALS: Final = struct.Struct("3i")
_MESSAGE_BYTES: Final = 64
_SHELL_SIGNAL: Final = 128
"""What bubblewrap adds to the number of the signal that ended its first process."""


class Report:
    """Our end of the socket, which does not block; `theirs` is handed to the sandbox."""

    def __init__(self) -> None:
        """Make both ends."""
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._ours.setblocking(False)  # noqa: FBT003  its only argument
        self._waiting: list[int] = []
        self._first: int | None = None
        self._process: int | None = None
        self._status: int | None = None
        self.pid: int | None = None

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._ours.fileno()

    def take(self) -> bool:
        """Take what has come; return False when nothing will come any more."""
        while True:
            try:
                said, extra, _, _ = self._ours.recvmsg(
                    _MESSAGE_BYTES, socket.CMSG_SPACE(_CREDENTIALS.size)
                )
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not said:
                return False
            self._hear(said, extra)

    def send(self, number: int) -> None:
        """Send the program a signal, as soon as it is known; nothing when it has ended."""
        if self._process is None:
            if self.pid is None:
                self._waiting.append(number)
        else:
            with suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(self._process, number)

    @property
    def lingering(self) -> int | None:
        """Return what becomes readable when all in the sandbox has ended; None when it has."""
        if self._first is None or select.select([self._first], [], [], 0)[0]:
            return None
        return self._first

    @property
    def began(self) -> bool:
        """Return whether the sandbox was made and the program let go."""
        return self.pid is not None

    @property
    def ended(self) -> bool:
        """Return whether it is known how the program ended."""
        return self._status is not None

    def code(self, sandbox: int) -> int:
        """Return how the program ended, -n for signal n; `sandbox` is how bubblewrap did.

        Where the program's own end was not told, its sandbox was ended with it in there.
        """
        if self._status is not None:
            return os.waitstatus_to_exitcode(self._status)
        return _SHELL_SIGNAL - sandbox if sandbox > _SHELL_SIGNAL else sandbox

    def close(self) -> None:
        """Let go of everything."""
        self._ours.close()
        self.theirs.close()
        for handle in (self._first, self._process):
            if handle is not None:
                os.close(handle)
        self._first = self._process = None

    def _hear(self, said: bytes, extra: list[tuple[int, int, bytes]]) -> None:
        sender = _CREDENTIALS.unpack_from(extra[0][2])[0] if extra else 0
        if said == FIRST and self._first is None and sender:
            with suppress(OSError):
                self._first = os.pidfd_open(sender)
        elif said == HERE and self.pid is None and sender:
            self.pid = sender
            # It waits for our answer, so it is still there and the number still its own.
            with suppress(OSError):
                self._process = os.pidfd_open(sender)
                self._ours.send(GO)
            for number in self._waiting:
                self.send(number)
        elif said.isdigit() and self._status is None:
            self._status = int(said) & 0xFFFF
