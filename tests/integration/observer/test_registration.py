"""Nothing that an agent does to `config.json` ends registration or heartbeats; content waits."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.machine.observer.registration import KEPT, Registration
from tests.integration.observer.conftest import KEY, REGISTER, Node
from tests.support.logs import Lines
from tests.support.recording_plane import API_KEY


def broken(path: Path) -> None:
    path.write_text("{")


def too_large(path: Path) -> None:
    path.write_text(json.dumps({"api_key": "cm_1", "node_id": "n", "more": "x" * 70_000}))


def a_folder(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def nested(path: Path) -> None:
    path.write_text('{"api_key":"cm_1","node_id":"n","more":' + "[" * 30_000 + "]" * 30_000 + "}")


def no_folder(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("a file")


DAMAGES = [broken, too_large, a_folder, a_pipe, a_link, nested, no_folder]


class Beating:
    """An observer's registration under a controller, and its heart."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.log = Lines()
        self.path = node.home / ".clawmetry/config.json"
        self.start()

    def start(self) -> None:
        node = self.node
        node.registration = self.registration = Registration(
            node.home, kept=node.folder / "queue", draw=os.urandom, clock=node.clock, log=self.log
        )
        self.registration.read()
        self.heart = node.heart()

    def beat(self) -> int:
        """Beat once; return how many heartbeats have come with our key."""
        self.heart.beat()
        return self.node.plane.count("/ingest/heartbeat")

    def cleared(self) -> None:
        """Remove whatever is in the place of the file and of its folder."""
        folder = self.path.parent
        if folder.is_dir():
            shutil.rmtree(folder)
        else:
            folder.unlink()


@pytest.fixture
def beating(node: Node) -> Beating:
    return Beating(node)


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_an_agent_put_there_first_ends_no_registration(
    beating: Beating, damage: Callable[[Path], None]
) -> None:
    beating.path.parent.mkdir()
    damage(beating.path)
    assert [beating.beat(), beating.beat()] == [1, 2]
    assert beating.node.plane.count("/api/register") == 1
    assert beating.registration.identity is None, "content waits"
    (said,) = beating.log.named("registration.damaged")
    assert said["reason"] == beating.registration.problem != ""
    beating.start()
    assert beating.beat() == 3
    assert beating.node.plane.count("/api/register") == 1, "who we are is kept"
    beating.cleared()
    assert beating.beat() == 4
    assert beating.registration.identity is not None, "it was written once that could be"
    found = json.loads(beating.path.read_text())
    assert (found["api_key"], beating.registration.problem) == (API_KEY, "")


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_after_a_registration_ends_no_heartbeat_of_a_later_start(
    beating: Beating, damage: Callable[[Path], None]
) -> None:
    assert beating.beat() == 1
    key = json.loads(beating.path.read_text())["encryption_key"]
    beating.cleared()
    beating.path.parent.mkdir()
    damage(beating.path)
    beating.start()
    assert beating.beat() == 2
    assert beating.registration.identity is None
    beating.cleared()
    beating.beat()
    assert json.loads(beating.path.read_text())["encryption_key"] == key, "the same as before"


def test_another_key_in_it_is_not_who_we_are_but_what_is_sealed_with(beating: Beating) -> None:
    assert beating.beat() == 1
    other = {"api_key": "cm_other", "node_id": "other", "encryption_key": KEY}
    beating.path.write_text(json.dumps(other))
    beating.start()
    assert beating.registration.key().reveal() == API_KEY
    assert beating.registration.identity is not None
    assert beating.registration.identity.node == "host"
    sealed = beating.registration.identity.sealer.seal(b"text", compress=False)
    by_hand = Registration(
        beating.node.home, draw=os.urandom, clock=beating.node.clock, log=beating.log
    )
    assert by_hand.read()
    assert by_hand.identity is not None
    assert by_hand.identity.sealer.unseal(sealed) == b"text", "with the key that stands there"
    assert by_hand.key().reveal() == "cm_other", "by hand the file is the owner's"


def test_a_copy_that_cannot_be_kept_or_read_costs_a_registration_and_no_heartbeat(
    beating: Beating,
) -> None:
    kept = beating.node.folder / "queue" / KEPT
    kept.mkdir()
    assert beating.beat() == 1
    assert beating.log.named("registration.not_kept")
    kept.rmdir()
    kept.write_text("{")
    beating.start()
    assert beating.beat() == 2
    assert beating.node.plane.count("/api/register") == 2
    assert json.loads(kept.read_text())["api_key"] == API_KEY


def test_by_hand_a_damaged_registration_is_left_alone_and_said_once(node: Node) -> None:
    log = Lines()
    node.registration = Registration(node.home, draw=os.urandom, clock=node.clock, log=log)
    path = node.home / ".clawmetry/config.json"
    path.parent.mkdir()
    path.write_text("{")
    for _ in range(3):
        assert not node.registration.ensure(node.uploader, node.gate, lambda: REGISTER)
    assert node.plane.counts() == {}
    assert len(log.named("registration.damaged")) == 1
