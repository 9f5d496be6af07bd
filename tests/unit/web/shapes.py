"""One instance as the API shows it, with whatever a test wants different."""

from __future__ import annotations

import msgspec

from holdfast.wire.api.instances import InstanceView

NOW = 1_795_000_000_000


def view(**fields: object) -> InstanceView:
    plain = {
        "id": "in-1", "name": "atlas", "account": "local", "agent": "demo", "desired": "running",
        "status": "running", "restarts": 0, "last_contact_at": None, "created_at": None,
        "health": {"code": "ready"},
    }  # fmt: skip
    return msgspec.convert(plain | fields, InstanceView)
