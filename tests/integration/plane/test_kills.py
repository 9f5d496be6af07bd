"""The plane is killed at random moments while it is loaded; nothing accepted is lost by that.

`HOLDFAST_TEST_KILLS=200` runs the whole campaign, `HOLDFAST_TEST_SEED` another course of it.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

import pytest

from holdfast.cli.client import ApiError
from holdfast.disk.process_environ import read_environ
from holdfast.wire.api.instances import InstanceCreate, InstanceOrder, InstancePatch
from tests.support.patience import patience
from tests.support.planes import PlaneProcess, until

KILLS = int(os.environ.get("HOLDFAST_TEST_KILLS", "2"))
SEED = int(os.environ.get("HOLDFAST_TEST_SEED", "1"))
WRITERS = 4
RUNNING = 3
LOADED_S = 0.6


class Writer(threading.Thread):
    """Changes one variable repeatedly, and keeps the last change that was answered."""

    def __init__(self, plane: PlaneProcess, instance_id: str) -> None:
        super().__init__(daemon=True)
        self.plane = plane
        self.path = {"id": instance_id}
        self.answered = self.tried = 0
        self.ends = threading.Event()

    def run(self) -> None:
        while not self.ends.is_set():
            try:
                with self.plane.client() as client:
                    while not self.ends.is_set():
                        self.tried += 1
                        patch = InstancePatch(env={"COUNT": str(self.tried)})
                        client.call("instance.patch", path=self.path, body=patch)
                        self.answered = self.tried
            except ApiError:
                self.ends.wait(0.02)


class Orderer(Writer):
    """Stops, starts and restarts a real machine as fast as it is answered."""

    def run(self) -> None:
        chance = random.Random(self.path["id"])
        while not self.ends.is_set():
            try:
                with self.plane.client() as client:
                    while not self.ends.is_set():
                        verb = chance.choice(("start", "stop", "restart", "start"))
                        client.call(f"instance.{verb}", path=self.path, body=InstanceOrder())
                        self.ends.wait(chance.random() * 0.2)
            except ApiError:
                self.ends.wait(0.02)


@pytest.mark.timeout(30 + KILLS * 10)
def test_killed_at_random_nothing_accepted_is_lost(own: PlaneProcess) -> None:
    chance = random.Random(SEED)
    with own.client() as client:
        made = [
            client.call(
                "instance.create", body=InstanceCreate(name=f"still-{n}", desired="stopped")
            )
            for n in range(WRITERS)
        ]
        moving = [
            client.call("instance.create", body=InstanceCreate(name=f"moving-{n}"))
            for n in range(RUNNING)
        ]
    writers = [Writer(own, view.id) for view in made]
    orderers = [Orderer(own, view.id) for view in moving]
    with running((*writers, *orderers)):
        for _ in range(KILLS):
            threading.Event().wait(chance.random() * LOADED_S)
            own.kill()
            known = {writer: writer.answered for writer in writers}
            own.start()
            for writer, answered in known.items():
                with own.client() as client:
                    env = client.call("instance.get", path=writer.path).env
                assert int(env.get("COUNT", 0)) >= answered
            assert not doubled(own)
    assert sum(writer.answered for writer in writers) > KILLS
    with own.client() as client:
        for view in moving:
            until("it is not restarting", partial(is_settled, own, view.id))
            client.call("instance.start", path={"id": view.id}, body=InstanceOrder())
    for view in moving:
        own.ready(view.id)
    until("one machine each, and no other", lambda: machines(own) == {v.id: 1 for v in moving})
    assert "Traceback" not in own.log()


@contextlib.contextmanager
def running(threads: Sequence[Writer]) -> Iterator[None]:
    """Run threads until the end, also that of a test that fails: another may open no socket."""
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.ends.set()
        for thread in threads:
            thread.join(patience(10))


def is_settled(plane: PlaneProcess, instance: str) -> bool:
    """Return whether an order would not be refused because one is under way."""
    view = plane.view(instance)
    return view is not None and view.status in {"running", "stopped"}


def machines(plane: PlaneProcess) -> Counter[str]:
    """Return how many controllers run for each instance."""
    found: Counter[str] = Counter()
    for process in plane.controllers():
        with contextlib.suppress(OSError):
            pairs = dict(part.decode().split("=", 1) for part in read_environ(process.pid) if part)
            found[pairs["HOLDFAST_INSTANCE_ID"]] += 1
    return found


def doubled(plane: PlaneProcess) -> list[str]:
    """Return the instances that have two machines."""
    return [instance for instance, count in machines(plane).items() if count > 1]
