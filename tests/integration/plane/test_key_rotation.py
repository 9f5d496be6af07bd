"""The key that seals is replaced while the plane runs, and goes when nothing is left of it."""

from __future__ import annotations

from holdfast.plane.secret_encryption import list_keys, rotate
from tests.support.planes import PlaneProcess, until


def ids(plane: PlaneProcess) -> list[str]:
    return [key.id for key in list_keys(plane.keys)]


def restarted(plane: PlaneProcess, name: str) -> None:
    """Have a machine launched anew, which opens all that is sealed for it."""
    before = plane.ready(name)
    plane.cli("instance", "restart", name)

    def again() -> bool:
        view = plane.view(name)
        return bool(view and view.epoch > before.epoch and view.agent_ready)

    until("the machine is launched with what was sealed", again, seconds=30)


def test_a_key_is_replaced_and_dropped_and_nothing_is_lost(own: PlaneProcess) -> None:
    own.cli("instance", "create", "one", "--secret", "MY_SECRET=-", given="kept")
    own.ready("one")
    (old,) = ids(own)

    # Killed right after the new key was written: the next call goes on and makes no other.
    assert own.terminate() == 0
    rotate(own.keys, now_ms=1)
    own.start()
    _, new = ids(own)
    left = own.terminate()
    assert left == 0
    refused = own.cli("keys", "drop", old, code=1)
    assert "secrets of" in refused.stderr
    own.start()
    told = own.cli("keys", "rotate").stderr
    assert "Made" not in told
    assert f"are sealed by {new}" in told
    assert ids(own) == [old, new]
    busy = own.cli("keys", "drop", old, code=1)
    assert "in use by process" in busy.stderr, "not while the plane runs"

    # The machine's record was sealed for it by a key that came of the old one.
    assert own.terminate() == 0
    refused = own.cli("keys", "drop", old, code=1)
    assert "rotate-secrets" in refused.stderr
    assert "secrets of" not in refused.stderr
    assert own.cli("keys", "drop", new, code=1).stderr.count("seals")
    own.start()
    restarted(own, "one")
    assert own.terminate() == 0
    own.cli("keys", "drop", old)
    assert ids(own) == [new]
    own.start()
    restarted(own, "one")
    assert own.json("doctor")["ok"]

    # Online, from the beginning: what is set afterwards is sealed by the new key.
    made = own.cli("keys", "rotate").stderr
    assert "Made the key" in made
    assert len(ids(own)) == 2
    own.cli("instance", "secrets", "one", "--set", "MY_OTHER=-", given="set after")
    again = own.cli("keys", "rotate").stderr
    assert "Made the key" in again, "nothing was left to seal again, so this is another rotation"
    shown = own.cli("keys", "list").stdout
    assert all(key in shown for key in ids(own))
    events = own.cli("instance", "timeline", "one", "--json").stdout
    assert "hf1." not in events, "no sealed text is shown"
    restarted(own, "one")
