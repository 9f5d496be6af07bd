"""Clock, chance and environment enter the program in few files, each with its reason.

Everywhere else they are passed in, so that a rehearsal, a replay and the simulator see the same
program as the live loop does.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tests.house.sources import PACKAGE, python_files, shown, uses

KINDS = {
    "clock": (
        "time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter",
        "time.perf_counter_ns", "time.process_time", "time.sleep", "time.localtime", "time.gmtime",
        "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today",
        "datetime.date.today",
    ),
    "chance": ("random", "secrets", "uuid.uuid1", "uuid.uuid4", "os.urandom"),
    "environment": ("os.environ", "os.environb", "os.getenv", "os.putenv", "os.unsetenv"),
}  # fmt: skip

# Comparing secrets in constant time is arithmetic, not chance.
NOT_CHANCE = ("secrets.compare_digest",)


class Allowance(NamedTuple):
    """Where a kind of call may be made, and why there."""

    where: str
    kinds: tuple[str, ...]
    reason: str


ALLOWANCES = (
    Allowance("kernel/clock.py", ("clock",), "the one real clock"),
    Allowance("disk/process_environ.py", ("clock",), "waits for a program that is being started"),
    Allowance("plane/settings.py", ("environment",), "settings are read here, once"),
    Allowance("plane/wiring/", ("chance",), "makes what is passed in, keys and seeds too"),
    Allowance(
        "plane/secret_encryption.py", ("chance",), "makes keys and nonces; tests pass theirs"
    ),
    Allowance("plane/plane_key.py", ("chance",), "makes the key of a new home"),
    Allowance("cli/client.py", ("chance",), "challenges planes with nonces"),
    Allowance("cli/", ("clock", "environment"), "the edge towards a person at a terminal"),
    Allowance("machine/controller/__main__.py", ("clock", "chance", "environment"), "entry point"),
    Allowance("machine/controller/settings.py", ("environment",), "read here, once"),
    Allowance("machine/attempts/__main__.py", ("environment",), "entry point"),
    Allowance("machine/controller/wiring.py", ("chance",), "makes what the rest is given"),
    Allowance("machine/content_key.py", ("chance",), "nonces, where the passing key is drawn too"),
    Allowance("machine/observer/__main__.py", ("chance",), "entry point; makes nonces and keys"),
    Allowance("machine/observer/settings.py", ("environment",), "read here, once"),
    Allowance("machine/agents/openclaw/install.py", ("clock",), "waits for npm and shows how long"),
    Allowance("machine/agents/demo", ("clock", "chance", "environment"), "a program of its own"),
    Allowance("machine/agents/scripted", ("clock", "environment"), "a program of its own"),
    Allowance("outbox/box.py", ("chance",), "names sources and leases; its queue is handed it"),
    Allowance("sdk/destination.py", ("environment",), "address, key and kill switch, each time"),
    Allowance("sdk/brain.py", ("chance",), "names brains and events"),
    Allowance("town_tool/", ("clock", "chance", "environment"), "a program beside an agent"),
    Allowance("compat/", ("environment",), "looks for its folder where the other SDK does"),
    Allowance("stores/", ("clock",), "adapters time their own commits"),
    Allowance("world/", ("clock", "environment"), "adapters wait for the outside"),
    Allowance("sim/", ("chance",), "random.Random, seeded; the global generator is never used"),
    Allowance("sim/__main__.py", ("clock",), "tells a person how long the seeds took"),
)


def kind_of(name: str) -> str | None:
    if name in NOT_CHANCE:
        return None
    for kind, banned in KINDS.items():
        if any(name == call or name.startswith(call + ".") for call in banned):
            return kind
    return None


def allowed(path: Path, kind: str) -> bool:
    inside = path.relative_to(PACKAGE).as_posix()
    return any(inside.startswith(a.where) and kind in a.kinds for a in ALLOWANCES)


def test_the_world_enters_where_it_may() -> None:
    found = sorted(
        {
            f"{shown(path)}:{line} {name} ({kind})"
            for path in python_files("src/holdfast")
            for line, name in uses(path)
            if (kind := kind_of(name)) is not None and "." in name
            if not allowed(path, kind)
        }
    )
    assert not found, "take it as an argument, or add an allowance with a reason:\n" + (
        "\n".join(found)
    )


def test_the_simulator_uses_no_global_chance() -> None:
    found = [
        f"{shown(path)}:{line} {name}"
        for path in python_files("src/holdfast/sim")
        for line, name in uses(path)
        if kind_of(name) == "chance" and "." in name and not name.startswith("random.Random")
    ]
    assert not found, "draw from the run's seeded random.Random:\n" + "\n".join(found)


def test_banned_calls_are_recognised() -> None:
    assert kind_of("datetime.datetime.now") == "clock"
    assert kind_of("random.random") == "chance"
    assert kind_of("os.environ.get") == "environment"
    assert kind_of("secrets.compare_digest") is None
    assert kind_of("os.environment") is None
