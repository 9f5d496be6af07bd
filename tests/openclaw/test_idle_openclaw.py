"""How many command lines of the real OpenClaw run beside it: none while nothing happens.

Each costs seconds of both processors, so they are counted where they begin: the program itself logs
every start. HOLDFAST_TEST_IDLE_S is the length of the idle time, by default a minute. With
HOLDFAST_TEST_TIMES set, the counts are printed (`-s`).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from holdfast.machine.agents.openclaw.run import node_path, script_path
from tests.integration.machine.rig import until
from tests.openclaw.machines import CHANNELS, DEVICES, Stage, run_stage

IDLE_S = float(os.environ.get("HOLDFAST_TEST_IDLE_S", "60"))
LOOK_S = 1.0

_NOTING = """#!/bin/sh
if [ "$1" != "{script}" ]; then exec "{node}" "$@"; fi
echo "+ $$ $2 $3" >> "{notes}"
if [ "$2" = gateway ]; then exec "{node}" "$@"; fi
"{node}" "$@"
code=$?
echo "- $$ $code" >> "{notes}"
exit $code
"""

pytestmark = [pytest.mark.openclaw, pytest.mark.timeout(900 + IDLE_S)]


@dataclass(frozen=True)
class Counted:
    """An installation whose program logs the beginning and end of each of its command lines."""

    install: Path
    notes: Path

    def starts(self) -> list[str]:
        """Return the past runs, oldest first, without the gateway itself."""
        rows = [row.split(" ", 2) for row in self.notes.read_text().splitlines()]
        return [what for sign, _, what in rows if sign == "+" and not what.startswith("gateway")]

    def most_at_once(self) -> int:
        """Return the maximum number of concurrent runs."""
        running: set[str] = set()
        most = 0
        for row in self.notes.read_text().splitlines():
            sign, pid, what = row.split(" ", 2)
            if sign == "-":
                running.discard(pid)
            elif not what.startswith("gateway"):
                running.add(pid)
                most = max(most, len(running))
        return most


def count(release: Path, folder: Path) -> Counted:
    """Return the installation with a program that logs its command lines in a file.

    The gateway replaces the logging process, because it receives signals; all others are waited
    for, so that their end is logged as well.
    """
    made = Counted(folder / "counted", folder / "notes")
    made.notes.touch()
    node = Path(node_path(str(made.install)))
    node.parent.mkdir(parents=True)
    (made.install / "node_modules" / "openclaw").symlink_to(release / "node_modules" / "openclaw")
    node.write_text(_NOTING.format(
        script=script_path(str(made.install)), node=node_path(str(release)), notes=made.notes
    ))  # fmt: skip
    node.chmod(0o755)
    return made


async def test_no_command_is_run_while_nothing_happens(release: Path, tmp_path: Path) -> None:
    counted = count(release, tmp_path)
    async with run_stage(
        tmp_path / "m", counted.install, read=(counted.install, release), write=(counted.notes,)
    ) as stage:
        assert "--version" in " ".join(counted.starts()), "what is run is noted"
        for path in (CHANNELS, DEVICES):
            await until(partial(is_known, stage, path), f"{path} is known", 60)
        before = counted.starts()
        began = time.monotonic()
        while time.monotonic() - began < IDLE_S:
            await asyncio.sleep(min(LOOK_S, IDLE_S))
            assert stage.machine.process.returncode is None
            assert counted.starts() == before
        assert (await stage.machine.status())["ready"]
        assert stage.machine.events("pairing.command") == []
        for path in (CHANNELS, DEVICES):
            assert await is_known(stage, path)
        tell(f"{release.name}: {len(counted.starts()) - len(before)} in {IDLE_S:g} s")
        await let_three_in_at_once(stage)
        ran = counted.starts()[len(before) :]
        assert [what.split()[0] for what in ran] == ([] if stage.has_interface else ["pairing"] * 3)
        assert counted.most_at_once() == 1
        tell(f"{release.name}: then {json.dumps(ran)}")


def tell(what: str) -> None:
    if os.environ.get("HOLDFAST_TEST_TIMES"):
        sys.stdout.write(f"\n{what}")
        sys.stdout.flush()


async def is_known(stage: Stage, path: str) -> bool:
    """Return whether the list is reliable and empty."""
    _, body = await stage.machine.ask("GET", path)
    return (body["state"], body.get("requests")) == ("known", [])


async def let_three_in_at_once(stage: Stage) -> None:
    people = (777_001, 777_002, 777_003)
    rows = []
    for person in people:
        # One after another: two that write in the same moment may overwrite each other's request
        # in the files of a release up to 2026.7.
        await stage.telegram.write(person, "hello")
        rows.append(await stage.waits(CHANNELS, "id", str(person)))
    orders = [{"channel": "telegram", "code": row["code"]} for row in rows]
    answers = await asyncio.gather(
        *(stage.decide(CHANNELS, "approve", **order) for order in orders)
    )
    assert [code for code, _ in answers] == [200, 200, 200], answers
