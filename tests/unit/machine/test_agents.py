"""The profiles as data, the demo agent's own rules, and the hooks on an agent's lines."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, cast

import pytest

from holdfast.kernel.clock import ManualClock
from holdfast.machine.agents import demo
from holdfast.machine.agents.catalogue import DEMO, OPENCLAW, PROFILES, Profile, find_profile
from holdfast.machine.agents.openclaw import run
from holdfast.machine.agents.pairing import Place
from holdfast.machine.controller.agent.processes import AgentProcesses
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.settings import read_running

PLACE = Place(home="/h", port=4711, token="secret-token", python="/py", install="/o")


@pytest.mark.parametrize("profile", PROFILES.values(), ids=list(PROFILES))
def test_no_secret_is_on_a_command_line(profile: Profile) -> None:
    assert profile.repair_argv is not None
    for argv in (profile.argv, profile.version_argv, profile.repair_argv):
        assert PLACE.token not in " ".join(argv(PLACE))
    assert PLACE.token in profile.env(PLACE).values()
    assert profile.env(PLACE)["TMPDIR"] in profile.folders(PLACE)
    for content in profile.files(PLACE).values():
        assert PLACE.token not in content


def test_openclaw_is_bound_to_loopback_and_kept_from_managing_itself() -> None:
    argv = OPENCLAW.argv(PLACE)
    assert argv[argv.index("--bind") + 1] == "loopback"
    assert argv[argv.index("--port") + 1] == "4711"
    env = OPENCLAW.env(PLACE)
    assert env["OPENCLAW_NO_RESPAWN"] == "1"
    assert env["OPENCLAW_SUPERVISOR_MODE"] == "external"
    assert env["NO_COLOR"] == "1"
    (config,) = (json.loads(text) for text in OPENCLAW.files(PLACE).values())
    assert config["gateway"]["trustedProxies"] == ["127.0.0.1"]
    assert (config["gateway"]["bind"], config["gateway"]["port"]) == ("loopback", 4711)


def test_an_unknown_agent_is_named_with_those_there_are() -> None:
    assert find_profile("demo") is DEMO
    with pytest.raises(KeyError, match=r"'nobody'.*demo, openclaw"):
        find_profile("nobody")


async def test_a_hook_that_fails_costs_no_line(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    log = Log(ManualClock(), writing)
    agent = AgentProcesses(
        DEMO, PLACE, read_running({}),
        child_processes=cast("Any", None), session=cast("Any", None), log=log,
    )  # fmt: skip
    heard: list[str] = []

    def hook(_stream: str, line: str) -> None:
        heard.append(line)
        if line == "two":
            raise RuntimeError(line)

    agent.hooks.append(hook)
    for line in ("one", "two", "three"):
        agent._on_line("stdout", line)
    agent._rest("stdout", "unfinished")
    assert heard == ["one", "two", "three"]
    logged = [json.loads(row) for row in os.read(reading, 65_536).splitlines()]
    assert [row.get("line") for row in logged] == ["one", "two", None, "three", "unfinished"]
    os.close(reading)
    os.close(writing)


def test_the_demo_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(["--version"]) == 0
    assert capsys.readouterr().out == "Demo 2026.1.0 (abc1234)\n"


def make_demo(tmp_path: Path, *arguments: str) -> demo.Demo:
    return demo.Demo(demo.read_options(list(arguments), tmp_path, {}))


def test_the_demo_answers_the_probes_as_openclaw_does(tmp_path: Path) -> None:
    starting = make_demo(tmp_path, "--start-ms", "600000")
    assert starting.probe("/healthz") == (200, {"ok": True, "status": "live"})
    for path in ("/ready", "/readyz"):
        answer = starting.probe(path)
        assert answer is not None
        assert (answer[0], answer[1]["failing"]) == (503, ["startup-sidecars"])
    started = make_demo(tmp_path)
    for path in ("/startup", "/startupz"):
        answer = started.probe(path)
        assert answer is not None
        assert (answer[0], answer[1]["status"]) == (200, "started")
    assert started.probe("/chat") is None


def test_the_demo_keeps_few_transcripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_TRANSCRIPT_BYTES_MAX", 1)
    transcript = demo.Transcript(tmp_path / "sessions")
    for _ in range(20):
        transcript.turn()
    kept = sorted((tmp_path / "sessions").iterdir())
    assert 1 <= len(kept) <= 5
    rows = [json.loads(line) for line in kept[0].read_text().splitlines()]
    assert rows[0]["type"] == "session"


def test_the_demos_doctor_repairs_what_can_be_repaired(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("somehow")
    demo.repair(tmp_path, {})
    assert not broken.exists()
    broken.write_text("hopeless")
    demo.repair(tmp_path, {})
    assert broken.exists()


def test_the_demo_reads_its_configuration_and_refuses_another(tmp_path: Path) -> None:
    path = tmp_path / demo.CONFIG_FILE
    assert demo.read_config(path) == {}
    path.write_text('{"startMs": 7, "fault": "crash:1"}')
    options = demo.read_options(["--port", "1"], tmp_path, demo.read_config(path))
    assert (options.start_ms, options.fault, options.beat_s) == (7, "crash:1", 5)
    assert demo.read_options(["--start-ms", "9"], tmp_path, {"startMs": 7}).start_ms == 9
    for wrong in ("{", "[]", '{"nonsense": 1}'):
        path.write_text(wrong)
        with pytest.raises(ValueError):
            demo.read_config(path)


def test_a_part_of_another_kind_keeps_the_gateway_from_starting() -> None:
    # Observed: with --allow-unconfigured it starts in any mode.
    for fine in ({}, {"gateway": {"mode": "remote"}}, {"of its own": 3}):
        assert run.config_fault(PLACE, fine) == ""
    assert "gateway" in run.config_fault(PLACE, {"gateway": 3})
    assert "models" in run.config_fault(PLACE, {"models": [], "agents": {}})
