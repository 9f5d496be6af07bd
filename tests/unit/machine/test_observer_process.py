from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.kernel.secret import Secret
from holdfast.machine.controller import limits
from holdfast.machine.controller.credentials import Pair
from holdfast.machine.controller.observing import protocol
from holdfast.machine.controller.observing.process import (
    ObserverProcess,
    Surroundings,
    Told,
    describe_end,
)
from holdfast.machine.controller.settings import Observing
from holdfast.wire.controller.checkin import ObserverWork
from tests.support.patience import until

TOLD = Observing(plane_url="http://p", consent_key="key", consent_node="nd_1")


class Parts:
    """Starts nothing: keeps what would be started, and ends it when the test says so."""

    def __init__(self, home: Path, **variables: str) -> None:
        self.home = home
        self.started: list[dict[str, str]] = []
        self.ends: list[Callable[[int], None]] = []
        self.lines: list[Callable[[str, str], None]] = []
        self.logged: list[str] = []
        self.signals: list[int] = []
        self.changes = 0
        self.api_key = "first"
        self.pid = 7
        where = Surroundings(home / "m", home / "m/agent", variables, "/usr/bin/python3")
        self.observer = ObserverProcess(
            TOLD, where, launch=self.launch,  # type: ignore[arg-type]
            credentials=lambda: Pair(Secret(self.api_key), Secret("token")),
            on_change=self.changed, log=self,  # type: ignore[arg-type]
            seed="s",
        )  # fmt: skip

    def launch(self, argv: tuple[str, ...], *, env: Mapping[str, str], **more: Any) -> Any:
        assert argv[1:] == ("-I", "-m", "holdfast.machine.observer")
        self.started.append(dict(env))
        self.ends.append(more["on_exit"])
        self.lines.append(more["on_line"])
        return self

    def send(self, number: int) -> None:
        self.signals.append(number)

    def changed(self) -> None:
        self.changes += 1

    def emit(self, event: str, **fields: Any) -> None:
        self.logged.append(event)

    def say(self, **work: Any) -> ObserverWork:
        """Have the observer that was started last say what it did."""
        made = ObserverWork(**work)
        self.lines[-1]("stdout", protocol.WORK + msgspec.json.encode(made).decode())
        return made


async def test_its_environment_is_a_closed_list(tmp_path: Path) -> None:
    agent = str(tmp_path / "m/agent")
    parts = Parts(
        tmp_path, LANG="C", PATH="/bin", LD_PRELOAD="/evil.so", PYTHONPATH="/evil", SECRET="s",
        HOLDFAST_PROCESS_OF=agent, OPENCLAW_STATE_DIR=f"{agent}/state",
        CLAUDE_CONFIG_DIR="/somebody/else", CODEX_HOME=f"{agent}/../other", TMPDIR="",
    )  # fmt: skip
    parts.observer.start()
    folder = str(tmp_path / "m/observer")
    assert parts.started == [
        {
            "LANG": "C", "OPENCLAW_STATE_DIR": f"{agent}/state", "HOME": agent,
            "HOLDFAST_AGENT_HOME": agent, "HOLDFAST_OBSERVER_HOME": folder,
            "HOLDFAST_PLANE_URL": "http://p", "HOLDFAST_API_KEY": "first",
            "HOLDFAST_GATEWAY_TOKEN": "token", protocol.WITHIN: agent,
            "HOLDFAST_CONSENT_KEY": "key", "HOLDFAST_CONSENT_NODE": "nd_1",
        }
    ]  # fmt: skip


async def test_a_gate_that_is_there_keeps_its_key_and_credentials_are_those_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OBSERVER_HEALTHY_S", 3_600)
    parts = Parts(tmp_path)
    parts.observer.start()
    (tmp_path / "m/observer" / protocol.GATE_FILE).write_text("{}")
    parts.api_key = "second"
    parts.ends[0](1)
    assert parts.observer.told == Told("failing", "it ended with code 1")
    parts.observer._start()
    assert parts.started[1]["HOLDFAST_API_KEY"] == "second"
    assert "HOLDFAST_CONSENT_KEY" not in parts.started[1]
    assert parts.observer.told.state == "failing", "until it has lasted"
    parts.observer._lasted()
    assert parts.observer.told == Told("running")
    assert parts.changes == 3


async def test_it_is_told_to_end_once_and_not_started_again(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    parts.observer.start()
    parts.observer.end()
    closing = asyncio.create_task(parts.observer.close())
    await asyncio.sleep(0)
    parts.ends[0](0)
    await closing
    assert parts.signals == [15]
    parts.observer.start()
    assert len(parts.started) == 1


async def test_one_that_waits_for_its_next_try_is_not_started_by_a_shutdown(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    parts.observer.start()
    parts.ends[0](-9)
    await parts.observer.close()
    assert parts.observer._timer is None


async def test_what_it_says_of_its_work_is_carried_and_only_transitions_are_news(
    tmp_path: Path,
) -> None:
    parts = Parts(tmp_path)
    parts.observer.start()
    news = parts.changes, len(parts.logged)
    for minute in range(5):
        parts.say(heard=minute, waiting=minute)
    work = parts.say(heard=5)
    assert parts.observer.told == Told("running", "", work)
    assert (parts.changes, len(parts.logged)) == news, "no row a minute"
    work = parts.say(paused="the owner has not agreed")
    assert parts.observer.told == Told("running", "", work)
    work = parts.say(stuck="heartbeats are not answered: HTTP 401")
    assert parts.observer.told == Told("stalled", work.stuck, work)
    work = parts.say()
    assert parts.observer.told == Told("running", "", work)
    assert parts.changes == news[0] + 3
    parts.lines[-1]("stdout", f"{protocol.WORK}{{")
    parts.lines[-1]("stderr", f"{protocol.WORK}{{}}")
    assert parts.logged[-2:] == ["observer.line"] * 2, "what is none of ours is a line like others"
    parts.observer.end()


async def test_one_that_says_nothing_for_long_does_not_count_as_working(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OBSERVER_SILENT_S", 0.01)
    parts = Parts(tmp_path)
    parts.observer.start()
    await until(lambda: parts.observer.told.state == "stalled")
    assert parts.observer.told.reason == "it has said nothing for 0.01 s"
    monkeypatch.setattr(limits, "OBSERVER_SILENT_S", 3_600)
    work = parts.say()
    assert parts.observer.told == Told("running", "", work)
    parts.ends[0](1)
    assert parts.observer.told.state == "failing"
    assert parts.observer._silence is None
    parts.observer.end()


def test_ends_are_named() -> None:
    assert describe_end(-9) == "it was ended by SIGKILL"
    assert describe_end(1) == "it ended with code 1"
    assert "another observer holds its folder" in describe_end(protocol.ALREADY_RUNS)
    assert "cannot be used" in describe_end(protocol.UNUSABLE)
