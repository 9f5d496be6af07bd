"""A confined program's exit status is reported exactly, and nothing of it outlives the sandbox."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.machine.confine.probing import Kind, Probe
from holdfast.machine.confine.sandbox import ConfineError, Confinement, Order
from holdfast.machine.controller.process.children import Child, ChildProcesses
from tests.integration.machine.rig import alive, until
from tests.support.confinement import KINDS, confinement, found

IN_BUBBLEWRAP = [kind for kind in KINDS if "bubblewrap" in kind]


class Bench:
    """Child processes, and the output of the program in them."""

    def __init__(self, folder: Path, confined: Confinement) -> None:
        self.folder = folder
        self.child_processes = ChildProcesses(confined)
        self.child_processes.open()
        self.lines: list[str] = []
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def start(self, code: str, **more: Any) -> Child:
        return self.child_processes.launch(
            (sys.executable, "-I", "-S", "-c", f"import os, signal, sys, time\n{code}"),
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder)}, cwd=str(self.folder),
            on_line=lambda _stream, line: self.lines.append(line), on_exit=self.ended.set_result,
            write=(str(self.folder),), **more,
        )  # fmt: skip

    async def started(self, code: str) -> Child:
        child = self.start(f"print('up', flush=True)\n{code}")
        await until(lambda: "up" in self.lines, "its first line")
        return child


@pytest.fixture(params=KINDS)
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, confinement(request.param))
    yield made
    made.child_processes.abandon()
    await until(lambda: not made.child_processes.sessions, "the end of all")
    made.child_processes.confinement.close()


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("sys.exit(0)", 0),
        ("sys.exit(3)", 3),
        ("os._exit(137)", 137),
        ("os._exit(143)", 143),
        ("os._exit(255)", 255),
        ("os.kill(os.getpid(), signal.SIGKILL)", -9),
        ("os.kill(os.getpid(), signal.SIGSEGV)", -11),
        ("os.kill(os.getpid(), signal.SIGTERM)", -15),
        ("os.abort()", -6),
    ],
)
async def test_the_cause_of_death_is_exact(bench: Bench, code: str, told: int) -> None:
    bench.start(code)
    assert await bench.ended == told
    assert not bench.lines


async def test_one_that_takes_more_memory_than_it_may_dies_of_that(bench: Bench) -> None:
    bench.start(
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_AS, (200 << 20, 200 << 20))\n"
        "try:\n    held = bytearray(1 << 30)\n"
        "except MemoryError:\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert await bench.ended == -9


async def test_a_signal_reaches_the_program_itself(bench: Bench) -> None:
    child = await bench.started(
        "signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b'drained\\n'), os._exit(5)))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    await until(lambda: "ready" in bench.lines, "its handler")
    child.send(signal.SIGTERM)
    assert await bench.ended == 5
    assert "drained" in bench.lines


async def test_a_signal_that_comes_before_the_program_is_there_is_not_lost(bench: Bench) -> None:
    bench.start("time.sleep(60)").send(signal.SIGTERM)
    assert await bench.ended == -15


async def test_a_kill_ends_it_and_what_it_started(bench: Bench) -> None:
    child = await bench.started(
        "import subprocess\n"
        "subprocess.Popen(['/bin/sleep', '60'])\n"
        "subprocess.Popen(['/bin/sleep', '60'], start_new_session=True)\n"
        "time.sleep(60)"
    )
    program, descendants = child.pid, family_of(child.session)
    assert program in {child.session, *descendants}
    child.kill()
    assert await bench.ended == -9
    assert not alive(program)
    bench.child_processes.purge()
    await until(lambda: not any(map(alive, descendants)), "the end of its descendants")


async def test_a_program_that_is_not_there_cannot_be_launched(bench: Bench) -> None:
    with pytest.raises(FileNotFoundError):
        bench.child_processes.launch(
            ("/nowhere/at/all",), env={}, cwd="/", on_line=print, on_exit=bench.ended.set_result
        )


async def test_only_what_is_told_is_in_its_environment(bench: Bench) -> None:
    bench.start(
        "told = open('/proc/self/environ').read().split('\\0')\n"
        "print(sorted(one.partition('=')[0] for one in told if one))"
    )
    assert await bench.ended == 0
    assert bench.lines == ["['HOME', 'PATH']"]


@pytest.mark.parametrize("kind", KINDS)
async def test_files_move_between_its_folders_though_ports_are_denied(
    tmp_path: Path, kind: Kind
) -> None:
    bench = Bench(tmp_path, confinement(kind, ports=(20_000, 20_003), agent_port=20_001))
    bench.start(
        "os.makedirs('a'); os.makedirs('b'); open('a/f', 'w').write('here')\n"
        "os.link('a/f', 'b/linked'); os.rename('a/f', 'b/moved')\n"
        "print(sorted(os.listdir('b')))"
    )
    assert await bench.ended == 0, bench.lines
    assert bench.lines == ["['linked', 'moved']"]
    bench.child_processes.abandon()
    bench.child_processes.confinement.close()


@pytest.mark.parametrize("kind", IN_BUBBLEWRAP)
async def test_what_is_in_a_sandbox_that_is_killed_ends_with_it(tmp_path: Path, kind: Kind) -> None:
    for victim, told in (("sandbox", -9), ("first", -9)):
        bench = Bench(tmp_path, confinement(kind))
        child = await bench.started("time.sleep(60)")
        assert child.pid != child.session, "it was let go by who reports it"
        (first,) = children_of(child.session)
        os.kill(child.session if victim == "sandbox" else first, signal.SIGKILL)
        assert await bench.ended == told
        assert not alive(child.pid), "its end is told when it is over"
        assert any("the sandbox ended with the program in it" in line for line in bench.lines)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_controller_that_is_killed_leaves_no_program(tmp_path: Path, kind: Kind) -> None:
    confinement(kind).close()
    controller = await asyncio.create_subprocess_exec(
        sys.executable, "-c",
        "import asyncio, pathlib, sys\n"
        "from tests.integration.confine.test_deaths import Bench, confinement\n"
        "async def main():\n"
        f"    bench = Bench(pathlib.Path({str(tmp_path)!r}), confinement({kind!r}))\n"
        "    child = await bench.started('time.sleep(60)')\n"
        "    print(child.pid, flush=True)\n"
        "    await bench.ended\n"
        "asyncio.run(main())",
        stdout=subprocess.PIPE, cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": "src:."},
    )  # fmt: skip
    assert controller.stdout is not None
    program = int(await controller.stdout.readline())
    assert alive(program)
    descendants = family_of(controller.pid)
    controller.kill()
    await controller.wait()
    await until(lambda: not any(map(alive, (program, *descendants))), "the end of all it ran")


async def test_what_cannot_be_confined_any_more_is_not_run(tmp_path: Path) -> None:
    confined = confinement("bubblewrap")
    confined.found = Probe("bubblewrap", "", 0, "", found().flags, str(tmp_path / "bwrap"))
    bench = Bench(tmp_path, confined)
    with pytest.raises(FileNotFoundError):
        bench.start("print('unconfined')")
    refusing = tmp_path / "bwrap"
    refusing.write_text("#!/bin/sh\necho 'No permissions to create new namespace' >&2\nexit 1\n")
    refusing.chmod(0o755)
    bench.start("print('unconfined')")
    assert await bench.ended == 1
    assert bench.lines == [
        "No permissions to create new namespace",
        "[holdfast: the sandbox could not be made: 1]",
    ]


def test_a_kind_that_is_not_to_be_had_is_refused() -> None:
    nothing = Probe("none", "not installed", 0, "bubblewrap: not installed")
    with pytest.raises(ConfineError, match="not to be had: bubblewrap: not installed"):
        Confinement(Order(kind="bubblewrap+landlock"), nothing, agent_port=0)
    assert Confinement(Order(), nothing, agent_port=0).kind == "none"


def children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def family_of(pid: int) -> list[int]:
    """Return every descendant."""
    return [one for child in children_of(pid) for one in (child, *family_of(child))]
