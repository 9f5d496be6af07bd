"""Asks about databases of the agent in a process that can be killed (`confine/sqlite_queries`).

SQLite opens by path and maps what lies beside a database. An agent can put a pipe there, cut off
what is mapped, or make a table of a view without end. Such a read costs one process and
`limits.QUERY_S`; the database is then left alone for a growing time. The process can open no
connection and reads and writes below one folder only.
"""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from holdfast.kernel.backoff import Backoff
from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import OperationError, reason
from holdfast.machine.confine import sqlite_queries
from holdfast.machine.confine.probing import PYTHON
from holdfast.machine.confine.sandbox import isolated
from holdfast.machine.observer import limits
from holdfast.machine.signals import signal_name

_T = TypeVar("_T")
_OTHER_SCHEMA: Final = "SQLITE_ERROR"
_PASSING: Final = frozenset({"SQLITE_BUSY", _OTHER_SCHEMA})
"""Errors for which a database is not left alone: another one writes, or it has another schema."""
_QUICK_MS: Final = 1_000
_CHUNK_BYTES: Final = 65_536
_LOOK_MS: Final = 200
"""So often it is looked whether the answer is still wanted."""
_END_S: Final = 2.0
_BACKOFF: Final = Backoff(first_ms=limits.QUERY_RETRY_FIRST_MS, cap_ms=limits.QUERY_RETRY_MAX_MS)


class Query(NamedTuple):
    """What is asked of the database at `uri`; no further row is read beyond `size` bytes."""

    uri: str
    sql: str
    values: Sequence[str | int] = ()
    size: int = limits.BODY_BYTES_MAX


class UnansweredError(OperationError):
    """A read ended without rows; `is_new` if that was now, and not one that is remembered."""

    def __init__(self, told: str, *, is_new: bool) -> None:
        """Take why."""
        super().__init__(told)
        self.is_new = is_new


class SqliteError(OperationError):
    """SQLite's answer was an error that passes: the name is its argument."""

    def __init__(self, path: Path, name: str) -> None:
        """Take which database, and the name."""
        super().__init__(f"{path.name}: {name}")


class OtherSchemaError(SqliteError):
    """SQLite knows no such table, or no such column: it is another program's, or release's."""


class GivenUpError(OSError):
    """The answer is not wanted any more."""


class _Answer(Struct):
    rows: msgspec.Raw = msgspec.Raw(b"[]")
    error: str = ""


class _EndedError(OperationError):
    """There is no answer; the argument is why."""


class _IdleError(Exception):
    """The process had ended before it was asked."""


class _Failed(NamedTuple):
    times: int
    until_ms: float
    because: str


class Queries:
    """One question at a time; for one thread."""

    def __init__(self, folder: Path, *, clock: Clock, unwanted: Callable[[], bool]) -> None:
        """Ask of databases below `folder`; give up where an answer is `unwanted`."""
        self._folder = folder
        self._clock = clock
        self._unwanted = unwanted
        self._process: subprocess.Popen[bytes] | None = None
        self._failed: dict[Path, _Failed] = {}

    def ask(self, path: Path, query: Query, kind: type[_T]) -> _T:
        """Return the rows of the database at a path, as many as fit the query's size.

        Raise OSError: UnansweredError, GivenUpError, SqliteError, or what the kernel refused.
        """
        failed = self._failed.get(path)
        if failed is not None and self._clock.steady_ms() < failed.until_ms:
            raise UnansweredError(failed.because, is_new=False)
        if self._unwanted():
            raise GivenUpError
        began_ms = self._clock.steady_ms()
        try:
            told = self._exchanged(msgspec.json.encode(query._asdict()) + b"\n")
            answer = msgspec.json.decode(told, type=_Answer)
            rows = msgspec.json.decode(answer.rows, type=kind)
        except GivenUpError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise self._remembered(path, reason(error)) from error
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise OperationError(f"{path.name}: its rows are none of OpenClaw's") from error
        if answer.error:
            took_ms = self._clock.steady_ms() - began_ms
            if answer.error in _PASSING and took_ms < _QUICK_MS:
                kind_of = OtherSchemaError if answer.error == _OTHER_SCHEMA else SqliteError
                raise kind_of(path, answer.error)
            raise self._remembered(path, answer.error[: limits.LABEL_CHARS_MAX])
        self._failed.pop(path, None)
        return rows

    def _remembered(self, path: Path, because: str) -> UnansweredError:
        """Leave a database alone for a while; return the error that says why."""
        before = self._failed.pop(path, None)
        times = 1 if before is None else before.times + 1
        wait_ms = _BACKOFF.delay_ms(times, path.name)
        told = f"{path.name}: {because}"
        self._failed[path] = _Failed(times, self._clock.steady_ms() + wait_ms, told)
        while len(self._failed) > limits.QUERY_FAILURES_KEPT:
            del self._failed[next(iter(self._failed))]
        return UnansweredError(told, is_new=True)

    def _exchanged(self, question: bytes) -> bytes:
        """Return the answer to a question; a process that had ended for want of one is replaced."""
        end_ms = self._clock.steady_ms() + limits.QUERY_S * 1_000
        for _ in range(2):
            try:
                return self._exchange(self._running(), question, end_ms)
            except _IdleError:
                self._end()
        raise _EndedError("what reads it ends at once")

    def _running(self) -> subprocess.Popen[bytes]:
        """Return the process, a new one where none runs; raise OSError."""
        if self._process is None:
            bounds = (str(limits.QUERY_S + 1), str(limits.QUERY_CPU_S))
            launch = isolated(
                (*PYTHON, sqlite_queries.__file__, *bounds), write=[str(self._folder)]
            )
            try:
                process = subprocess.Popen(
                    launch.argv,
                    env=launch.env,
                    cwd="/",
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    bufsize=0,
                    pass_fds=launch.inherited,
                )
            finally:
                launch.started()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                os.set_blocking(pipe.fileno(), False)
            self._process = process
        return self._process

    def close(self) -> None:
        """End the process."""
        with suppress(OSError):
            self._end()

    def _end(self) -> None:
        """Kill the process; raise OSError where the kernel cannot end it yet."""
        process = self._process
        if process is None:
            return
        process.kill()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            raise OperationError("what reads databases cannot be ended") from None
        self._process = None
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()

    def _exchange(self, process: subprocess.Popen[bytes], question: bytes, end_ms: float) -> bytes:
        assert process.stdin is not None
        assert process.stdout is not None
        to, back = process.stdin.fileno(), process.stdout.fileno()
        waiting = select.poll()
        waiting.register(to, select.POLLOUT)
        waiting.register(back, select.POLLIN)
        answer = bytearray()
        while not answer.endswith(b"\n"):
            if self._unwanted():
                raise GivenUpError
            if self._clock.steady_ms() >= end_ms:
                raise _EndedError(f"reading it took more than {limits.QUERY_S} s")
            if len(answer) > limits.QUERY_ANSWER_BYTES_MAX:
                raise _EndedError("its rows are too large")
            for descriptor, _ in waiting.poll(_LOOK_MS):
                if descriptor == to:
                    with suppress(BlockingIOError, BrokenPipeError):
                        question = question[os.write(to, question) :]
                    if not question:
                        waiting.unregister(to)
                    continue
                data = os.read(back, _CHUNK_BYTES)
                if not data:
                    raise _ended(process)
                answer += data
        return bytes(answer)


def _ended(process: subprocess.Popen[bytes]) -> _EndedError | _IdleError:
    """Return why a process closed its answers."""
    try:
        code = process.wait(_END_S)
    except subprocess.TimeoutExpired:
        return _EndedError("what reads it closed its answers")
    if code < 0:
        return _EndedError(f"reading it was ended by {signal_name(-code)}")
    return _EndedError(f"what reads it ended with code {code}") if code else _IdleError()
