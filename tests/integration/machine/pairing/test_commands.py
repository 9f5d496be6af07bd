"""The agent's command line in every behaviour: slow, memory-hungry, silent, verbose, failing."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from holdfast.kernel.clock import SystemClock
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.pairing import limits
from holdfast.machine.controller.pairing.command_line import CommandLine
from holdfast.machine.controller.pairing.decisions import Order
from holdfast.machine.controller.pairing.openclaw.by_command import (
    CommandBackend,
    CommandSource,
    find_object,
)
from holdfast.machine.controller.pairing.openclaw.restart_after_approval import Aftermath
from holdfast.machine.controller.pairing.state import DEVICES, Failure
from holdfast.machine.controller.process.children import Child, ChildProcesses, OnLine
from holdfast.machine.controller.process.commands import Commands
from holdfast.machine.controller.process.priority_lock import PriorityLock, Rank
from tests.integration.machine.rig import alive, until
from tests.support.confinement import confinement
from tests.support.patience import patience

AT = "2026-11-21T01:37:21.888Z"


class Rig:
    def __init__(self, folder: Path, descriptor: int, child_processes: ChildProcesses) -> None:
        self.folder = folder
        self.child_processes = child_processes
        self.started: list[Child] = []
        self.lock = PriorityLock()
        self.commands = CommandLine(
            lambda: (sys.executable, str(folder / "agent.py")), Commands(self.lock, self.launch),
            hidden=("hidden-token",), clock=SystemClock(),
            log=Log(SystemClock(), descriptor),
        )  # fmt: skip

    def launch(
        self, argv: Sequence[str], on_line: OnLine, on_exit: Callable[[int], None], *,
        cwd: str = "", write: Sequence[str] = (), expendable: bool = False,
    ) -> Child:  # fmt: skip
        assert not cwd, "in the agent's own folder"
        child = self.child_processes.launch(
            argv, env={"PATH": os.environ["PATH"]}, cwd=str(self.folder), on_line=on_line,
            on_rest=on_line, on_exit=on_exit, write=(str(self.folder), *write),
            expendable=expendable,
        )  # fmt: skip
        self.started.append(child)
        return child

    def program(self, body: str) -> None:
        (self.folder / "agent.py").write_text(f"import os, sys, time\n{body}\n")


@pytest.fixture(params=("none", "auto"))
async def rig(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    with (tmp_path / "log").open("wb") as log:
        child_processes = ChildProcesses(confinement(request.param))
        child_processes.open()
        made = Rig(tmp_path, log.fileno(), child_processes)
        yield made
        for process in made.started:
            process.kill()
        await until(lambda: not child_processes.sessions, "the end of all")
        child_processes.confinement.close()


async def listed(rig: Rig) -> Any:
    return (await CommandSource(rig.commands).look("channels", ["telegram"]))["telegram"]


async def test_a_list_is_found_among_whatever_is_printed_besides(rig: Rig) -> None:
    person = {"id": "1", "code": "AB", "createdAt": AT}
    shown = json.dumps({"channel": "telegram", "requests": [person]}, indent=2)
    rig.program(f"assert sys.argv[1:] == ['pairing', 'list', 'telegram', '--json'], sys.argv\n"
                f"print('| Doctor warnings {{x}} |')\nprint({shown!r})\nprint('bye')")  # fmt: skip
    (row,) = await listed(rig)
    assert row.code == "AB"
    device = {"pending": [{"requestId": "r", "deviceId": "d", "publicKey": "p"}], "paired": []}
    rig.program(f"assert sys.argv[1:] == ['devices', 'list', '--json']\nprint({str(device)!r}"
                ".replace(\"'\", '\"'))")  # fmt: skip
    devices = (await CommandSource(rig.commands).look("devices", [DEVICES]))[DEVICES]
    assert isinstance(devices, tuple)
    (other,) = devices
    assert "publicKey" not in other.entry


@pytest.mark.parametrize(
    "printed",
    ["", "{}", '{"ok":false,"error":{}}', '{"requests": {}}', '{"requests": ['],
)
async def test_what_is_no_list_is_no_empty_list(rig: Rig, printed: str) -> None:
    rig.program(f"print({printed!r})")
    found = await listed(rig)
    assert isinstance(found, Failure)
    assert (found.code, found.strange) == ("command_unknown", True)


async def test_a_failure_tells_its_code_and_the_end_of_what_was_said(rig: Rig) -> None:
    rig.program("for n in range(100): print('line', n, file=sys.stderr)\n"
                "print('token=abcdef hidden-token', file=sys.stderr)\nsys.exit(3)")  # fmt: skip
    found = await listed(rig)
    assert (found.code, found.exit_code, found.strange) == ("command_failed", 3, False)
    assert "line 99" in found.detail
    assert "line 1\n" not in found.detail
    assert "abcdef" not in found.detail
    assert "hidden-token" not in found.detail
    assert "line" not in found.message


async def test_a_command_that_hangs_is_ended_with_all_it_started(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "COMMAND_TIMEOUT_S", 0.3)
    rig.program("import subprocess\nsubprocess.Popen(['sleep', '60'])\ntime.sleep(60)")
    found = await listed(rig)
    assert found.code == "command_timeout"
    assert not alive(rig.started[0].pid)


async def test_a_command_that_takes_too_much_memory_is_ended(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "COMMAND_BYTES_MAX", 60_000_000)
    rig.program("x = bytearray(os.urandom(1_000_000) * 100)\ntime.sleep(60)")
    found = await listed(rig)
    assert found.code == "command_memory"


async def test_it_is_the_first_that_the_kernel_would_end(rig: Rig) -> None:
    rig.program("time.sleep(0.2)\nprint(open('/proc/self/oom_score_adj').read())")
    assert (await rig.commands.run()).output.strip() == "1000"


async def test_one_runs_at_a_time(rig: Rig, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    rig.program(f"os.close(os.open({str(lock)!r}, os.O_CREAT | os.O_EXCL))\ntime.sleep(0.05)\n"
                f"os.unlink({str(lock)!r})")  # fmt: skip
    ended = await asyncio.gather(*(rig.commands.run() for _ in range(4)))
    assert [one.code for one in ended] == [0, 0, 0, 0]


async def test_who_gives_up_ends_the_command_and_the_next_may_run(rig: Rig) -> None:
    rig.program("time.sleep(60)")
    task = asyncio.create_task(rig.commands.run())
    await until(lambda: rig.started, "its start")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await until(lambda: not rig.child_processes.sessions, "its end")
    assert not alive(rig.started[0].pid)
    rig.program("pass")
    assert (await rig.commands.run()).code == 0


async def test_a_read_makes_way_for_an_urgent_command_and_is_repeated(
    rig: Rig, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    rig.program(f"if os.path.exists({str(again)!r}): sys.exit(0)\n"
                f"open({str(again)!r}, 'w').close()\ntime.sleep(60)")  # fmt: skip
    look = asyncio.create_task(rig.commands.look())
    await until(again.exists, "the first look")
    async with asyncio.timeout(patience(5)):
        await rig.lock.take(Rank.START)
    assert not alive(rig.started[0].pid), "one at a time: it has ended"
    await asyncio.sleep(0.02)
    assert len(rig.started) == 1
    rig.lock.give_back()
    assert ((await look).code, len(rig.started)) == (0, 2)
    assert rig.lock.take_now()


def begun(rig: Rig, number: int) -> bool:
    return len(rig.started) == number


async def test_a_look_that_is_always_overtaken_says_so(rig: Rig) -> None:
    rig.program("time.sleep(60)")
    look = asyncio.create_task(listed(rig))
    for number in range(1, limits.OVERTAKEN_MAX + 2):
        await until(partial(begun, rig, number), "its start")
        async with asyncio.timeout(patience(5)):
            await rig.lock.take(Rank.ORDER)
        rig.lock.give_back()
    assert (await look).code == "command_busy"
    assert rig.lock.take_now()


async def test_an_order_makes_way_for_no_other_command(rig: Rig) -> None:
    rig.program("time.sleep(0.3)")
    order = asyncio.create_task(rig.commands.run())
    await until(lambda: rig.started, "its start")
    await rig.lock.take(Rank.START)
    assert order.done() or not alive(rig.started[0].pid)
    rig.lock.give_back()
    assert (await order).code == 0


async def test_a_program_that_is_not_there_is_a_failure(tmp_path: Path, rig: Rig) -> None:
    def launch(*_given: Any, **_named: Any) -> Child:
        raise FileNotFoundError(2, "No such file", "openclaw")

    commands = CommandLine(
        lambda: ("openclaw",), Commands(PriorityLock(), launch), hidden=(), clock=SystemClock(),
        log=Log(SystemClock(), 1),
    )  # fmt: skip
    found = (await CommandSource(commands).look("devices", [DEVICES]))[DEVICES]
    assert isinstance(found, Failure)
    assert found.code == "command_failed"
    refused = await CommandBackend(commands, alone()).decide(approve(), None)
    assert refused is not None
    assert refused.unable


async def test_who_waits_too_long_for_others_says_so_and_has_done_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LOCK_WAIT_S", 0.05)
    assert rig.lock.take_now(), "the doctor runs"
    refused = await CommandBackend(rig.commands, alone()).decide(approve(), None)
    assert refused is not None
    assert (refused.code, refused.unable) == ("pairing_failed", True), "there is no doubt"
    assert "nothing was done" in refused.message
    assert (await listed(rig)).code == "command_busy"
    assert rig.started == []
    rig.lock.give_back()
    rig.program("pass")
    assert await CommandBackend(rig.commands, alone()).decide(approve(), None) is None
    assert rig.lock.take_now(), "it was given back"


def alone() -> Aftermath:
    """Return an aftermath for an agent without a link: it waits for nothing."""

    async def never() -> bool:
        raise AssertionError("nobody asks")

    return Aftermath("/nowhere", link_end=lambda: None, is_ready=never, log=Log(SystemClock(), 1))


def approve(**changed: str) -> Order:
    return Order("channels", "approved", "telegram", changed.get("code", "AB"))


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("No pending pairing request found for code AB", "pairing_not_found"),
        ("Error: unknown requestId", "pairing_not_found"),
        ("Error: something else, with a secret: token=abc", "pairing_failed"),
    ],
)
async def test_what_an_approval_says_is_told_apart_and_not_passed_on(
    rig: Rig, said: str, code: str
) -> None:
    rig.program(f"print({said!r}, file=sys.stderr)\nsys.exit(1)")
    refused = await CommandBackend(rig.commands, alone()).decide(approve(), None)
    assert refused is not None
    assert (refused.code, refused.unable) == (code, False)
    assert said not in refused.message
    assert "abc" not in refused.detail


async def test_a_command_that_was_killed_may_have_done_it(rig: Rig) -> None:
    rig.program("os.kill(os.getpid(), 9)")
    refused = await CommandBackend(rig.commands, alone()).decide(approve(), None)
    assert refused is not None
    assert (refused.code, refused.unable) == ("pairing_timeout", False)


async def test_an_approval_is_the_contracts_command(rig: Rig) -> None:
    rig.program("print(*sys.argv[1:], file=open(sys.argv[0] + '.said', 'a'))")
    backend = CommandBackend(rig.commands, alone())
    assert await backend.decide(approve(), None) is None
    device = Order("devices", "approved", request_id="8D08D697-1111-4222-8333-444455556666")
    assert await backend.decide(device, None) is None
    said = (rig.folder / "agent.py.said").read_text().splitlines()
    assert said == [
        "pairing approve telegram AB --notify",
        "devices approve 8D08D697-1111-4222-8333-444455556666",
    ]


def test_looking_for_an_object_ends() -> None:
    assert find_object("{" * 100_000, "requests") is None
    assert find_object("{\n" * 100_000, "requests") is None
    assert find_object('noise {"requests": 1}\n  {"requests": 2}', "requests") == {"requests": 2}
