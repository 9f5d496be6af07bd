"""Answers read-only queries of SQLite databases that another program writes, one a line.

Run with `python -I -S -E` by whoever asks, who kills it where no answer comes: a database may lead
SQLite to a pipe that nobody writes to, to memory that was cut off, or into a view without end. It
uses the standard library alone with few imports, because it stays in memory while questions come.

A question is `{"uri", "sql", "values", "size"}` as JSON, its answer `{"rows"}`, as many as fit
`size` bytes and one more, or `{"error"}`. Without a question for `IDLE_S`, and where whoever asks
is gone, it ends with code 0.
"""

from __future__ import annotations

import _sqlite3
import json
import os
import resource
import select
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

IDLE_S: Final = 20
MEMORY_BYTES_MAX: Final = 128 * 1024 * 1024
"""Of its data, Python's 5 MiB included; SQLite's own cache takes 2 MiB."""
FILE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of a file that SQLite makes beside a database, which is the index of its log."""
_CHUNK_BYTES: Final = 65_536


def bound(seconds: int, cpu_s: int) -> None:
    """Bound what one question takes, also where whoever asks is gone: SIGALRM, SIGXCPU."""
    for kind, most in (
        (resource.RLIMIT_DATA, MEMORY_BYTES_MAX),
        (resource.RLIMIT_FSIZE, FILE_BYTES_MAX),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    used_s = int(sum(os.times()[:2]))
    resource.setrlimit(resource.RLIMIT_CPU, (used_s + 1 + cpu_s, resource.RLIM_INFINITY))
    signal.alarm(seconds)


def plain(value: Any) -> Any:
    """Return a value as JSON has it: null for one that is no text and no number."""
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    return value if isinstance(value, str | int) else None


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Return the rows that a question asks for; raise an error of SQLite's."""
    connection = _sqlite3.connect(
        question["uri"], uri=True, timeout=0, isolation_level=None, cached_statements=0
    )
    try:
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        rows: list[list[Any]] = []
        size = 0
        for row in connection.execute(question["sql"], question["values"]):
            if size > question["size"]:
                break
            rows.append([plain(value) for value in row])
            size += sum(len(value) if isinstance(value, str) else 8 for value in rows[-1])
        return {"rows": rows}
    finally:
        connection.close()


def main(seconds: int, cpu_s: int) -> None:
    """Answer questions until none comes; each may take `seconds`, `cpu_s` of a processor."""
    waiting = select.poll()
    waiting.register(0, select.POLLIN)
    line = b""
    while waiting.poll(IDLE_S * 1_000):
        data = os.read(0, _CHUNK_BYTES)
        if not data:
            return
        line += data
        if not line.endswith(b"\n"):
            continue
        bound(seconds, cpu_s)
        try:
            told = answer(json.loads(line))
        except _sqlite3.Error as error:
            told = {"error": getattr(error, "sqlite_errorname", "") or type(error).__name__}
        except (ValueError, RecursionError):
            told = {"error": "not a question"}
        except MemoryError:
            told = {"error": "not enough memory"}
        left = memoryview(json.dumps(told, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        while left:
            left = left[os.write(1, left) :]
        signal.alarm(0)
        line = b""


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
