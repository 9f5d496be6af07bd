"""Which sources are read, in which order, and which results count."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from holdfast.kernel.clock import ManualClock
from holdfast.machine.agents.openclaw.run import PAIRING, plan
from holdfast.machine.agents.pairing import Means
from holdfast.machine.controller.agent.version import VersionProbe
from holdfast.machine.controller.pairing.ports import Parts, Source
from holdfast.machine.controller.pairing.reader import Reader
from holdfast.machine.controller.pairing.state import DEVICES, Failure, Found, Look
from holdfast.wire.controller.pairing import Kind

STRANGE = Failure("store_unknown", "not known", strange=True)
BROKEN = Failure("store_unreadable", "cannot be read")
CONFIG = {"channels": {"telegram": {"enabled": True, "botToken": "t"}, "signal": {"enabled": True}}}


@dataclass
class FakeSource:
    name: str
    answers: Mapping[str, Failure] = field(default_factory=dict)
    debounce_ms: int = 50
    asked: list[tuple[Kind, tuple[str, ...]]] = field(default_factory=list)

    async def look(self, kind: Kind, names: Sequence[str]) -> Parts:
        self.asked.append((kind, tuple(names)))
        return {name: self.answers.get(name, ()) for name in names}


class Rig:
    def __init__(self, version: str, folder: Path) -> None:
        (folder / "binary").write_text("")
        self.sources = {
            name: FakeSource(name, debounce_ms=2_000 if name == "command" else 50)
            for name in ("json", "sqlite", "rpc", "command")
        }
        self.config: Any = CONFIG
        self.told: str | None = None

        async def ask() -> str:
            return version

        def read() -> Mapping[str, Any]:
            if isinstance(self.config, Exception):
                raise self.config
            found: Mapping[str, Any] = self.config
            return found

        names: tuple[Means, ...] = ("json", "sqlite", "rpc", "command")
        sources: dict[Means, Source] = {name: self.sources[name] for name in names}
        self.reader = Reader(
            PAIRING, sources, env={}, read_config=read, running_version=lambda: self.told,
            version=VersionProbe(str(folder / "binary"), ask, ManualClock()),
        )  # fmt: skip

    async def look(self, kind: Kind = "channels") -> Mapping[str, Found]:
        found: Look = await self.reader.look(kind)
        assert isinstance(found, Mapping), found
        return found

    @property
    def asked(self) -> list[str]:
        return [name for name, source in self.sources.items() if source.asked]


MakeRig = Callable[[str], Rig]


@pytest.fixture
def make(tmp_path: Path) -> MakeRig:
    return lambda version: Rig(version, tmp_path)


@pytest.mark.parametrize(
    ("version", "first"),
    [
        ("OpenClaw 2026.3.13 (61d171a)", "json"),
        ("OpenClaw 2026.7.35", "json"),
        ("OpenClaw 2026.8.1", "sqlite"),
        ("OpenClaw 2026.10.2 (abc)", "sqlite"),
        ("something else", "rpc"),
    ],
)
async def test_the_version_decides_and_nothing_else(
    make: MakeRig, version: str, first: str
) -> None:
    rig = make(version)
    found = await rig.look("devices")
    assert found[DEVICES].source == first
    assert rig.asked == [first]


async def test_what_the_running_agent_says_counts_where_the_program_says_nothing(
    make: MakeRig,
) -> None:
    rig = make("it took too long")
    rig.told = "2026.9.6"
    assert (await rig.look("devices"))[DEVICES].source == "sqlite"
    known = make("OpenClaw 2026.7.35")
    known.told = "2026.9.6"
    assert (await known.look("devices"))[DEVICES].source == "json"


def test_releases_are_compared_as_numbers() -> None:
    assert plan("2026.10.1").channels[0] == "sqlite"
    assert plan("2026.7.99").channels[0] == "json"
    assert "sqlite" not in plan("2026.7.35").devices, "its empty tables are not looked at"
    assert "json" not in plan("2026.9.6").channels
    assert plan(None).channels == plan("2026.x").channels == ("rpc", "command")


async def test_all_channels_are_asked_for_at_once(make: MakeRig) -> None:
    rig = make("OpenClaw 2026.9.6")
    found = await rig.look()
    assert rig.sources["sqlite"].asked == [("channels", ("telegram", "signal"))]
    assert list(found) == ["telegram", "signal"]
    assert {one.note for one in found.values()} == {""}


async def test_what_is_not_understood_is_asked_of_the_next_part_by_part(make: MakeRig) -> None:
    rig = make("OpenClaw 2026.9.6")
    rig.sources["sqlite"].answers = {"telegram": STRANGE}
    found = await rig.look()
    assert rig.sources["rpc"].asked == [("channels", ("telegram",))]
    assert (found["telegram"].source, found["telegram"].result) == ("rpc", ())
    assert found["telegram"].note == "sqlite: not known"
    assert (found["signal"].source, found["signal"].note) == ("sqlite", "")


async def test_what_is_broken_is_asked_of_nobody_else(make: MakeRig) -> None:
    rig = make("OpenClaw 2026.7.35")
    rig.sources["json"].answers = {"telegram": BROKEN}
    found = await rig.look()
    assert rig.asked == ["json"]
    assert (found["telegram"].source, found["telegram"].result) == ("json", BROKEN)


async def test_a_socket_that_is_not_ready_yet_starts_no_command(make: MakeRig) -> None:
    rig = make("OpenClaw 2026.9.6")
    rig.sources["sqlite"].answers = {DEVICES: STRANGE}
    rig.sources["rpc"].answers = {DEVICES: Failure("agent_not_ready", "not yet")}
    found = await rig.look("devices")
    assert rig.asked == ["sqlite", "rpc"]
    assert (found[DEVICES].source, found[DEVICES].result) == ("sqlite", STRANGE)


async def test_when_nobody_understands_the_best_source_says_why(make: MakeRig) -> None:
    rig = make("OpenClaw 2026.9.6")
    for name in ("sqlite", "rpc", "command"):
        rig.sources[name].answers = {DEVICES: Failure(name, name, strange=True)}
    found = await rig.look("devices")
    assert rig.asked == ["sqlite", "rpc", "command"]
    result = found[DEVICES].result
    assert isinstance(result, Failure)
    assert result.code == "sqlite"


@pytest.mark.parametrize("error", [OSError("gone"), ValueError("broken"), RecursionError()])
async def test_without_a_configuration_nothing_is_read(make: MakeRig, error: Exception) -> None:
    rig = make("OpenClaw 2026.9.6")
    rig.config = error
    found = await rig.reader.look("channels")
    assert isinstance(found, Failure)
    assert (found.code, found.strange) == ("config_unreadable", False)
    assert rig.asked == []
    assert await rig.look("devices"), "devices need none"


async def test_hints_wait_as_long_as_the_source_wants(make: MakeRig) -> None:
    rig = make("OpenClaw 2026.9.6")
    await rig.look()
    assert rig.reader.debounce_ms("channels") == 50
    command: dict[Means, Source] = {"command": rig.sources["command"]}
    rig.reader._sources = command
    assert rig.reader.debounce_ms("channels") == 2_000
