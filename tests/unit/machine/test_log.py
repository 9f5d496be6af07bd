from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Iterator

import pytest

from holdfast.kernel.clock import ManualClock
from holdfast.machine.controller.limits import LOG_BUFFER_BYTES_MAX
from holdfast.machine.controller.log import Log, log_faults
from tests.support.patience import patience


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    yield reading, writing
    os.close(reading)
    os.close(writing)


def read_all(descriptor: int) -> bytes:
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(descriptor, 65_536)
        except BlockingIOError:
            return b"".join(parts)
        parts.append(part)


async def test_a_line_is_one_object_without_secrets(pipe: tuple[int, int]) -> None:
    log = Log(ManualClock(7), pipe[1])
    log.emit("x", gateway_token="abc", line="Authorization: Bearer abcdef", count=3)
    row = json.loads(read_all(pipe[0]))
    assert (row["at_ms"], row["event"], row["count"]) == (7, "x", 3)
    assert "abc" not in json.dumps(row)


async def test_a_reader_that_does_not_read_holds_nobody_up_and_gets_it_later(
    pipe: tuple[int, int],
) -> None:
    log = Log(ManualClock(), pipe[1])
    for number in range(1_000):
        log.emit("line", number=number, text="x" * 1_000)
    received = read_all(pipe[0])
    log.emit("after")
    async with asyncio.timeout(patience(10)):
        while b'"after"' not in received:
            await asyncio.sleep(0.01)
            received += read_all(pipe[0])
    rows = [json.loads(line) for line in received.splitlines()]
    numbers = [row["number"] for row in rows if row["event"] == "line"]
    assert numbers == list(range(len(numbers))), "in order, none torn"
    assert LOG_BUFFER_BYTES_MAX <= len(received) <= LOG_BUFFER_BYTES_MAX + 200_000
    (dropped,) = [row for row in rows if row["event"] == "log.dropped"]
    assert dropped["lines"] == 1_000 - len(numbers)


@pytest.fixture
async def quiet(pipe: tuple[int, int]) -> AsyncIterator[asyncio.AbstractEventLoop]:
    """The running loop with its faults logged into the pipe; all handlers are as before later."""
    loop, root = asyncio.get_running_loop(), logging.getLogger()
    handlers, level, before = list(root.handlers), root.level, loop.get_exception_handler()
    log_faults(Log(ManualClock(), pipe[1]), loop)
    yield loop
    loop.set_exception_handler(before)
    root.handlers[:] = handlers
    root.setLevel(level)


async def test_what_no_task_handled_is_logged_by_type_and_place(
    pipe: tuple[int, int], quiet: asyncio.AbstractEventLoop
) -> None:
    def fail() -> None:
        raise ValueError("password in a text")

    quiet.call_soon(fail)
    await asyncio.sleep(0)
    row = json.loads(read_all(pipe[0]))
    assert row["event"] == "loop.failed"
    assert "ValueError" in row["error"]
    assert "in fail" in row["error"]
    assert "password" not in json.dumps(row)


async def test_lines_of_libraries_have_no_arguments_and_no_text_of_an_exception(
    pipe: tuple[int, int], quiet: asyncio.AbstractEventLoop
) -> None:
    del quiet
    try:
        int("password")
    except ValueError:
        logging.getLogger("aiohttp.server").exception("Error from %s", "password")
    await asyncio.sleep(0)
    row = json.loads(read_all(pipe[0]))
    assert (row["event"], row["logger"]) == ("library.log", "aiohttp.server")
    assert row["what"] == "Error from %s"
    assert row["error"].startswith("ValueError")
    assert "password" not in json.dumps(row)


async def test_an_exception_that_a_library_logs_as_its_line_is_told_without_its_text(
    pipe: tuple[int, int], quiet: asyncio.AbstractEventLoop
) -> None:
    del quiet
    logging.getLogger("aiohttp.client").error(ValueError("password"))
    await asyncio.sleep(0)
    assert json.loads(read_all(pipe[0]))["what"] == "ValueError"
