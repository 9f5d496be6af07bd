"""`holdfast consent` against a real plane, and its receipts verified without one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.output import EXIT_PENDING
from holdfast.wire.consent import from_base64url, to_base64url
from tests.support.nodes import register_nodes
from tests.support.planes import PlaneProcess, plane_at, until

TAKEN = {"applied", "ignored"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("cliconsent") / "home"
    home.mkdir(mode=0o700)
    asyncio.run(register_nodes(home, ("laptop", "desk", "shelf")))
    return home


@pytest.fixture(scope="module")
def plane(home: Path) -> Iterator[PlaneProcess]:
    with plane_at(home) as made:
        yield made


def decide(plane: PlaneProcess, act: str, name: str, *words: str) -> str:
    """Have a decision taken, and return what is shown of the node then.

    A busy plane accepts it, names the operation, and takes it later.
    """
    done = plane.cli("consent", act, name, *words, code=None)
    if done.returncode == EXIT_PENDING:
        operation = done.stderr.split()[-1]
        until(act, lambda: plane.json("operation", "show", operation)["outcome"] in TAKEN)
        done = plane.cli("consent", "show", name)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def in_force(plane: PlaneProcess, name: str) -> list[str]:
    return list(plane.json("consent", "show", name)["node"]["classes"])


def receipts(plane: PlaneProcess, name: str) -> list[dict[str, Any]]:
    return list(plane.json("consent", "receipts", name)["items"])


def test_a_node_is_let_out_and_shut_from_the_command_line(plane: PlaneProcess) -> None:
    assert "laptop" in plane.cli("consent", "show").stdout
    shown = plane.cli("consent", "show", "laptop").stdout
    assert "Nobody has decided about: counters" in shown
    asked = plane.cli("consent", "grant", "laptop", "logs", given="n\n", code=1)
    assert "nothing was granted" in asked.stderr
    assert "They may quote what was said" in asked.stderr
    words = ("logs", "counters", "--days", "3", "--yes", "--backfill", "7")
    assert "logs" in decide(plane, "grant", "laptop", *words)
    until("the grant is signed", lambda: in_force(plane, "laptop") == ["counters", "logs"])
    assert "Revoked: logs" in decide(plane, "revoke", "laptop", "logs", "--reason", "too much")
    assert in_force(plane, "laptop") == ["counters"]
    assert "Revoked: logs" in decide(plane, "revoke", "laptop", "logs")
    until("both receipts", lambda: len(receipts(plane, "laptop")) == 2)
    table = plane.cli("consent", "receipts", "laptop").stdout
    assert "too much" in table
    assert "token:tok_" in table
    assert plane.cli("consent", "show", "nowhere", code=4).stderr
    wrong = plane.cli("consent", "grant", "laptop", "everything", code=2)
    assert "there is no class 'everything'" in wrong.stderr
    assert plane.cli("consent", "grant", "laptop", "logs", "--backfill", "x", code=2).stderr


@pytest.fixture(scope="module")
def exported(plane: PlaneProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the export of a node with three receipts, the last of another key; keys beside it."""
    folder = tmp_path_factory.mktemp("export")
    plane.cli("consent", "keys", "--export", str(folder / "first.json"))
    decide(plane, "grant", "desk", "all", "--yes")
    until("the receipt of it", lambda: len(receipts(plane, "desk")) == 1)
    decide(plane, "revoke", "desk", "memory", "--delete", "--yes")
    until("the receipt of the deletion", lambda: len(receipts(plane, "desk")) == 3)
    plane.cli("consent", "rotate-key")
    decide(plane, "revoke", "desk", "files")
    until("the receipt by the new key", lambda: len(receipts(plane, "desk")) == 4)
    until("nothing is unsigned", lambda: not plane.json("consent", "show", "desk")["unsigned"])
    plane.cli("consent", "receipts", "desk", "--export", str(folder / "desk.json"))
    plane.cli("consent", "keys", "--export", str(folder / "keys.json"))
    return folder


def offline(plane: PlaneProcess, *words: str, code: int = 0) -> Any:
    """Run a command with a plane address that nobody answers at."""
    before = plane.environment["HOLDFAST_PORT"]
    plane.environment["HOLDFAST_PORT"] = "9"
    try:
        return plane.cli("consent", "verify", *words, code=code)
    finally:
        plane.environment["HOLDFAST_PORT"] = before


def test_receipts_are_verified_offline(plane: PlaneProcess, exported: Path) -> None:
    desk = str(exported / "desk.json")
    for key in ("keys.json", "first.json"):
        done = offline(plane, desk, "--key", str(exported / key))
        assert "5 documents are genuine" in done.stderr
    own = offline(plane, desk)
    assert "not who made it" in own.stderr
    assert "genuine, by the plane's keys" in plane.cli("consent", "verify", desk, "--plane").stderr
    checked = plane.json("consent", "verify", desk)
    assert [one["document"]["type"] for one in checked] == ["receipt"] * 4 + ["grant"]
    acts = [(one["document"]["act"], one["document"]["deleted"]) for one in checked[:-1]]
    assert acts == [("revoked", {}), ("deleted", {"memory": 0}), ("revoked", {}), ("granted", {})]
    first = json.loads((exported / "first.json").read_text())["keys"][0]["public_key"]
    (exported / "text").write_text(f"{first}\n")
    assert "genuine" in offline(plane, desk, "--key", str(exported / "text")).stderr
    single = exported / "one.json"
    single.write_text(json.dumps(json.loads(Path(desk).read_text())["receipts"][-1]))
    done = offline(plane, str(single), "--key", str(exported / "first.json"))
    assert "1 documents are genuine" in done.stderr
    assert "the file has no keys" in offline(plane, str(single), code=2).stderr


def change_payload(bundle: dict[str, Any]) -> None:
    document = bundle["receipts"][0]
    said = json.loads(from_base64url(document["payload"]))
    said["classes"] = ["counters"]
    document["payload"] = to_base64url(json.dumps(said).encode())


def change_signature(bundle: dict[str, Any]) -> None:
    document = bundle["receipts"][0]
    document["signature"] = document["signature"][::-1]


def change_key(bundle: dict[str, Any]) -> None:
    bundle["receipts"][0]["key"] = "0" * 16


def swap_nodes(bundle: dict[str, Any]) -> None:
    bundle["node"] = "nd_00000000000000000000"


@pytest.mark.parametrize("change", [change_payload, change_signature, change_key, swap_nodes])
def test_what_was_tampered_with_is_found(
    plane: PlaneProcess, exported: Path, tmp_path: Path, change: Any
) -> None:
    bundle = json.loads((exported / "desk.json").read_text())
    change(bundle)
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps(bundle))
    done = offline(plane, str(wrong), "--key", str(exported / "keys.json"), code=1)
    assert "documents are not genuine" in done.stderr


def test_another_planes_key_verifies_nothing(
    plane: PlaneProcess, exported: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.txt"
    other.write_text(to_base64url(bytes(range(32))))
    desk = str(exported / "desk.json")
    done = offline(plane, desk, "--key", str(other), code=1)
    assert "5 of 5 documents are not genuine" in done.stderr
    assert "not among those trusted" in done.stderr
    other.write_text("no key at all!")
    assert "the public keys" in offline(plane, desk, "--key", str(other), code=1).stderr
    assert "neither an export" in offline(plane, str(other), code=1).stderr
    assert offline(plane, str(tmp_path / "none"), code=4).stderr
    taken = plane.cli("consent", "keys", "--export", str(other), code=2)
    assert "is there already" in taken.stderr
