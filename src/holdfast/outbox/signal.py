"""Wakes the process that drains the folder, at once and from any process.

The holder of the lease listens on a datagram socket in the folder; an enqueueing process sends it
one byte. The content is not read: polling finds the same rows a little later. It must never fail
loudly, because no row depends on it.
"""

from __future__ import annotations

# What `socket` is built on: that module takes two milliseconds and most of a megabyte to load.
import _socket as socket
import os
import select
import threading
from typing import Final

SOCKET: Final = "outbox.sock"
_PATH_BYTES_MAX: Final = 100
_DRAIN: Final = 64


class Signal:
    """Wakes the holder of a folder in any process, and this process's own drainer."""

    def __init__(self, folder: str | None) -> None:
        """Without a folder only this process can be woken."""
        self._folder = folder
        self._ringer: socket.socket | None = None
        self._own: tuple[socket.socket, socket.socket] | None = None
        self._ear: socket.socket | None = None
        self._rung = False
        self._making = threading.Lock()

    def ring(self) -> None:
        """Wake the holder of the folder; without a listener, our own drainer."""
        if self._ear is None and self._folder is not None and self._ring_holder(self._folder):
            return
        self.ring_here()

    def ring_here(self) -> None:
        """Wake this process's own drainer, if it waits."""
        own = self._own
        if own is None or self._rung:
            return
        self._rung = True
        try:
            own[1].send(b"w")
        except OSError:
            # Full means woken already; closed means that there is no waiter any more.
            return

    def _ring_holder(self, folder: str) -> bool:
        try:
            ringer = self._ringer or self._make_ringer()
            with _Address(folder) as address:
                ringer.sendto(b"w", address)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    def _make_ringer(self) -> socket.socket:
        with self._making:
            if self._ringer is None:
                self._ringer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._ringer.setblocking(False)  # noqa: FBT003
            return self._ringer

    def listen(self) -> None:
        """Listen for others; only the lease's holder does. If that fails, it polls."""
        if self._folder is None or self._ear is not None:
            return
        path = os.path.join(self._folder, SOCKET)
        try:
            if os.path.lexists(path):
                os.unlink(path)
            ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            ear.setblocking(False)  # noqa: FBT003
        except OSError:
            return
        try:
            with _Address(self._folder) as address:
                ear.bind(address)
            os.chmod(path, 0o600)
        except OSError:
            ear.close()
            return
        self._ear = ear

    def deafen(self) -> None:
        """Stop listening; the file is left to the next holder, which removes it."""
        ear, self._ear = self._ear, None
        if ear is not None:
            ear.close()

    def open(self) -> None:
        """Open this process's own pipe; call before the drainer's first look."""
        if self._own is None:
            pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            for end in pair:
                end.setblocking(False)  # noqa: FBT003
            self._own = pair

    def is_abandoned(self) -> bool:
        """Return whether a holder left its socket behind: the process is gone."""
        if self._folder is None or self._ear is not None:
            return False
        probe = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            probe.setblocking(False)  # noqa: FBT003
            with _Address(self._folder) as address:
                probe.connect(address)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        finally:
            probe.close()
        return False

    def wait(self, for_s: float) -> None:
        """Wait until woken, at most so long."""
        self.open()
        own, ear = self._own, self._ear
        watch = select.poll()
        ears = [end for end in (own[0] if own else None, ear) if end is not None]
        for end in ears:
            watch.register(end, select.POLLIN)
        watch.poll(max(for_s, 0) * 1_000)
        self._rung = False
        for end in ears:
            _empty(end)

    def forked(self) -> None:
        """Drop, in a child, what is the parent's; closing our copies does not disturb it."""
        for end in (self._ringer, self._ear, *(self._own or ())):
            if end is not None:
                end.close()
        self._ringer = self._ear = self._own = None
        self._rung = False
        self._making = threading.Lock()

    def close(self) -> None:
        """Close every socket."""
        self.forked()


class _Address:
    """The socket's address: its path, or a short name for a long one."""

    __slots__ = ("_file", "_folder")

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._file = -1

    def __enter__(self) -> str:
        path = os.path.join(self._folder, SOCKET)
        if len(os.fsencode(path)) <= _PATH_BYTES_MAX:
            return path
        self._file = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._file}/{SOCKET}"

    def __exit__(self, *_: object) -> None:
        if self._file >= 0:
            os.close(self._file)


def _empty(ear: socket.socket) -> None:
    try:
        for _ in range(_DRAIN):
            ear.recv(16)
    except OSError:
        # Empty, or closed meanwhile: either way there is nothing left to read.
        return
