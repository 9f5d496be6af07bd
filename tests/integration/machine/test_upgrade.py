"""Changes of an agent's version in a real controller: done, taken back, killed at each step."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.machine.rig import Machine, run_machine, until
from tests.support.releases import SlowRelease, behave, make_release, read_form

OLD, NEW = "2026.3.13", "2026.9.6"
QUICK = json.dumps(
    {"healthy_ms": 200, "trial_ms": 300, "version_ready_ms": 4_000, "start_gap_ms": 10}
)


class Two:
    """A machine's home and two releases, of which the old one has run."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "m"
        self.old = make_release(folder / "agents", OLD)
        self.new = make_release(folder / "agents", NEW)

    @property
    def state(self) -> Path:
        return self.home / "agent" / "openclaw"

    @asynccontextmanager
    async def run(self, release: Path, turn: int = 0) -> AsyncIterator[Machine]:
        extra = {"HOLDFAST_AGENT_TURN": str(turn)} if turn else {}
        async with run_machine(
            self.home, HOLDFAST_AGENT="openclaw", HOLDFAST_OPENCLAW_HOME=str(release),
            HOLDFAST_SUPERVISION=QUICK, HOLDFAST_STOP_GRACE_MS="300", **extra,
        ) as machine:  # fmt: skip
            await machine.opened()
            yield machine

    async def change(self, release: Path, turn: int = 1) -> tuple[dict[str, Any], str]:
        """Run a machine until its change of version is over; return that and what runs."""
        async with self.run(release, turn) as machine:
            change = await until(lambda: self.over(turn), "the end of the change")
            await machine.ready()
            version = (await machine.ask("GET", "/_kilo/version"))[1]["openclawVersion"]
            return change, version

    def record(self) -> dict[str, Any]:
        path = self.home / "run" / "upgrade.json"
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def over(self, turn: int = 0) -> dict[str, Any] | None:
        record = self.record()
        is_over = record.get("step") in {"done", "rolled_back", "refused", "failed"}
        return record if is_over and record.get("turn", 0) == turn else None

    def kept(self) -> list[str]:
        folder = self.home / "upgrades"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture
async def two(tmp_path: Path) -> Two:
    made = Two(tmp_path)
    async with made.run(made.old) as machine:
        await machine.ready()
    (made.state / "work").write_text("of the old one")
    return made


async def test_a_newer_version_runs_on_a_copy_that_its_doctor_made_ready(two: Two) -> None:
    change, runs = await two.change(two.new)
    assert (change["step"], change["before"], change["after"]) == ("done", OLD, NEW)
    assert runs == NEW
    assert read_form(two.state) == {"version": NEW, "starts": [OLD, NEW]}
    assert two.kept() == [f"000001-{OLD}"]
    assert read_form(two.home / "upgrades" / f"000001-{OLD}")["version"] == OLD
    async with two.run(two.new, 1) as machine:
        await machine.ready()
        assert len(machine.events("agent.version_change")) == 4, "it was changed once"


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ({"doctor": "fail"}, "its doctor ended with 1: cannot bring the state to my form"),
        ({"gateway": "crash"}, "exit code 1"),
        ({"gateway": "mute"}, "it was not ready within 4 s"),
    ],
)
async def test_after_a_failure_the_version_and_state_before_are_used_again(
    two: Two, behaviour: dict[str, str], reason: str
) -> None:
    behave(two.new, **behaviour)
    change, runs = await two.change(two.new)
    assert (change["step"], change["reason"]) == ("rolled_back", reason)
    assert runs == OLD
    assert read_form(two.state) == {"version": OLD, "starts": [OLD, OLD]}
    assert (two.state / "work").read_text() == "of the old one"
    tried = [] if "doctor" in behaviour else [f"000001-{NEW}-failed"]
    assert two.kept() == tried, "what was written on trial is kept"

    _, runs = await two.change(two.new)
    assert runs == OLD, "the same order is not carried out twice"
    behave(two.new)
    change, runs = await two.change(two.new, turn=2)
    assert (change["step"], runs) == ("done", NEW)


async def test_an_older_version_goes_back_to_its_own_state_or_is_refused(two: Two) -> None:
    await two.change(two.new)
    (two.state / "work").write_text("of the new one")
    change, runs = await two.change(two.old, turn=2)
    assert (change["step"], runs) == ("done", OLD)
    assert (two.state / "work").read_text() == "of the old one"
    assert read_form(two.state)["version"] == OLD
    assert (two.home / "upgrades" / f"000002-{NEW}" / "work").read_text() == "of the new one"

    oldest = make_release(two.old.parent, "2026.1.1")
    change, runs = await two.change(oldest, turn=3)
    assert (change["step"], runs) == ("refused", OLD)
    assert change["reason"].startswith("2026.1.1 is older than 2026.3.13 and does not read")


STEPS = ("copy", "doctor", "start", "back")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_killed_at_any_step_it_goes_on(two: Two, step: str, number: int) -> None:
    """Each step lasts: there are thousands of files to copy, the doctor hangs, the gateway is mute.

    On the way back the controller waits to read which version the old one is.
    """
    if step == "copy":
        many = two.state / "many"
        many.mkdir()
        for index in range(4_000):
            (many / str(index)).write_text("x")
    behave(two.new, doctor={"doctor": "hang", "back": "fail"}.get(step, "ok"),
           gateway="mute" if step == "start" else "ok")  # fmt: skip
    slow = SlowRelease(two.old, lambda: two.record().get("step") == "back")
    async with two.run(two.new, 1) as machine:
        await until(lambda: two.record().get("step") == step, step)
        machine.process.send_signal(number)
        if number == signal.SIGTERM:
            await until(lambda: len(machine.events("controller.stopped")) == 2, "its end")
        slow.end()
        await machine.end(number)
    assert two.record()["step"] == step
    behave(two.new)
    change, runs = await two.change(two.new)
    if step == "back":
        assert (change["step"], runs) == ("rolled_back", OLD)
        assert (two.state / "work").read_text() == "of the old one"
    else:
        assert (change["step"], runs) == ("done", NEW)
        assert read_form(two.state)["version"] == NEW
        assert read_form(two.home / "upgrades" / f"000001-{OLD}") == {
            "version": OLD, "starts": [OLD],
        }  # fmt: skip


async def test_nothing_starts_the_agent_while_its_version_is_changed(two: Two) -> None:
    behave(two.new, doctor="hang")
    async with two.run(two.new, 1) as machine:
        await until(lambda: two.record().get("step") == "doctor", "the doctor")
        for order in ("start", "restart"):
            status, answer = await machine.ask("POST", f"/_kilo/gateway/{order}")
            assert (status, answer["code"]) == (409, "version_changing")
        assert len(machine.events("agent.spawned")) == 1, "that of before"
        await machine.end(signal.SIGKILL)
    assert read_form(two.state)["starts"] == [OLD]


async def test_another_order_in_the_middle_ends_the_one_before(two: Two) -> None:
    behave(two.new, doctor="hang")
    async with two.run(two.new, 1) as machine:
        await until(lambda: two.record().get("step") == "doctor", "the doctor")
        await machine.end(signal.SIGKILL)
    async with two.run(two.old, 2) as machine:
        await machine.ready()
        assert two.over(1) is not None
    assert read_form(two.state) == {"version": OLD, "starts": [OLD, OLD]}


async def test_a_state_that_is_a_link_is_not_followed(two: Two, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    two.state.rename(elsewhere)
    two.state.symlink_to(elsewhere)
    async with two.run(two.new, 1):
        change = await until(lambda: two.over(1), "the end of the change")
    assert change["step"] == "rolled_back"
    assert change["reason"] == "its state could not be copied: is a link, or no folder"
    assert two.kept() == []


async def test_three_machines_change_at_once(tmp_path: Path) -> None:
    """Upgrade, a failing upgrade and a version that stays, of one host's installations."""
    made = [Two(tmp_path / name) for name in ("a", "b", "c")]
    for one in made:
        async with one.run(one.old) as machine:
            await machine.ready()
    behave(made[1].new, doctor="fail")
    changed = await asyncio.gather(made[0].change(made[0].new), made[1].change(made[1].new))
    async with made[2].run(made[2].old) as machine:
        await machine.ready()
    assert [runs for _, runs in changed] == [NEW, OLD]
    assert made[2].record() == {}
