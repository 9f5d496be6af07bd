"""What a controller tells of its agent's confinement, and what is made of one that does not."""

from __future__ import annotations

import msgspec
import pytest

from holdfast.instances.start_report import confinement_of
from holdfast.telemetry.contact import decode_contact, encode_contact, new_contact, note
from holdfast.wire.controller.checkin import CheckIn

OLD = {
    "sandboxId": "s", "controllerVersion": "1", "controllerCommit": "c",
    "supervisorState": "running",
    "openclawVersion": None, "openclawCommit": None, "totalRestarts": 0,
    "restartsSinceLastCheckin": 0, "uptimeSeconds": 1, "loadAvg5m": 0, "bandwidthBytesIn": 0,
    "bandwidthBytesOut": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("told", "shown"),
    [({}, "unknown"), ({"confinement": "none"}, "none"), ({"confinement": "a jail"}, "unknown"),
     ({"confinement": "bubblewrap+landlock"}, "bubblewrap+landlock")],
)  # fmt: skip
def test_it_is_kept_with_the_contact(told: dict[str, str], shown: str) -> None:
    contact = new_contact("i")
    note(contact, msgspec.convert(OLD | told, CheckIn), region="")
    kept = decode_contact(encode_contact(contact))
    assert confinement_of(kept.status) == shown
