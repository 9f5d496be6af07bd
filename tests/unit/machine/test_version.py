from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from holdfast.kernel.clock import ManualClock
from holdfast.machine.controller import limits
from holdfast.machine.controller.agent.version import UNKNOWN, Version, VersionProbe, parse_version


@pytest.mark.parametrize(
    ("text", "version", "commit"),
    [
        ("OpenClaw 2026.9.6 (eb377ac)\n", "2026.9.6", "eb377ac"),
        ("Demo 2026.1.0 (abc1234)", "2026.1.0", "abc1234"),
        ("OpenClaw 2026.10.12", "2026.10.12", None),
        ("2026.3.13", "2026.3.13", None),
        ("OpenClaw next (eb377ac)", None, None),
        ("", None, None),
    ],
)
def test_versions_are_read(text: str, version: str | None, commit: str | None) -> None:
    assert parse_version(text) == Version(version, commit)


class Asked:
    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)
        self.times = 0

    async def __call__(self) -> str:
        self.times += 1
        await asyncio.sleep(0)
        answer = self.answers[min(self.times, len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_one_question_serves_all_who_ask(tmp_path: Path) -> None:
    (tmp_path / "agent").write_text("1")
    asked = Asked("X 2026.1.1 (aa)")
    probe = VersionProbe(str(tmp_path / "agent"), asked, ManualClock())
    found = await asyncio.gather(*(probe.find() for _ in range(10)))
    assert set(found) == {Version("2026.1.1", "aa")}
    await probe.find()
    assert asked.times == 1


async def test_another_binary_is_asked_again(tmp_path: Path) -> None:
    binary = tmp_path / "agent"
    binary.write_text("1")
    asked = Asked("X 2026.1.1", "X 2026.1.2")
    probe = VersionProbe(str(binary), asked, ManualClock())
    changes: list[None] = []
    probe.listen(lambda: changes.append(None))
    await probe.find()
    binary.write_text("a longer one")
    assert (await probe.find()).version == "2026.1.2"
    assert len(changes) == 1, "the first answer is no change"


async def test_a_failure_is_tried_again_but_not_at_once(tmp_path: Path) -> None:
    (tmp_path / "agent").write_text("1")
    clock = ManualClock()
    asked = Asked(TimeoutError(), OSError(), "X 2026.1.1")
    probe = VersionProbe(str(tmp_path / "agent"), asked, clock)
    assert await probe.find() == UNKNOWN
    assert await probe.find() == UNKNOWN
    assert asked.times == 1
    clock.advance(60_000)
    assert await probe.find() == UNKNOWN
    clock.advance(60_000)
    assert (await probe.find()).version == "2026.1.1"
    assert asked.times == 3


async def test_an_impatient_caller_gets_the_cached_version_while_others_have_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "VERSION_WAIT_S", 0.01)
    binary = tmp_path / "agent"
    binary.write_text("1")
    answers = [asyncio.Event(), asyncio.Event()]
    told: list[str] = []

    async def ask() -> str:
        told.append("X 2026.1.1" if not told else "X 2026.1.2")
        await answers[len(told) - 1].wait()
        return told[-1]

    probe = VersionProbe(str(binary), ask, ManualClock())
    assert await probe.find() == UNKNOWN
    answers[0].set()
    assert (await probe.find(patient=True)).version == "2026.1.1"
    binary.write_text("a longer one")
    assert (await probe.find()).version == "2026.1.1"
    patient = asyncio.create_task(probe.find(patient=True))
    answers[1].set()
    assert (await patient).version == "2026.1.2"
    assert len(told) == 2, "one question each, however many gave up waiting for it"
