"""The audit names what a call was about as of then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from holdfast.plane.wiring.instance_names import InstanceNames
from holdfast.wire.api.call import Call
from holdfast.wire.api.endpoint import Endpoint
from tests.support.asgi import call, json_headers
from tests.support.stub_plane import StubPlane


async def test_the_audit_keeps_the_id_and_the_name_of_then() -> None:
    """A name that another instance has by now must find that one's rows only."""
    atlas = ["i1"]

    def resolve(row: Endpoint, made: Call) -> tuple[Call, str]:
        if not row.path.startswith("/api/instances/{id}"):
            return made, ""
        given = made.path["id"]
        return replace(made, path={"id": atlas[0] if given == "atlas" else given}), "atlas"

    plane = StubPlane(options={"resolve": resolve})
    tokens = await plane.prepare()
    given = json_headers(tokens.operator)
    await call(plane.edge, "POST", "/api/instances/atlas/stop", headers=given, body=b"{}")
    atlas[0] = "i2"
    await call(plane.edge, "POST", "/api/instances/atlas/stop", headers=given, body=b"{}")

    async def listed(instance: str) -> list[tuple[str, str]]:
        answer = await call(plane.edge, "GET", f"/api/audit?instance={instance}", headers=given)
        return [(item["target"], item["target_name"]) for item in answer.json()["items"]]

    assert await listed("i1") == [("/api/instances/i1/stop", "atlas")]
    assert await listed("i2") == [("/api/instances/i2/stop", "atlas")]
    # The name of none that there is: all that had it.
    assert len(await listed("atlas")) == 2


async def test_a_row_without_a_name_shows_none_of_another_account() -> None:
    """Somebody who asked for the instance of another account was refused, and has the row."""
    names = InstanceNames(Nobody())
    names._names = {"i1": ("other", "their-secret-project")}
    plane = StubPlane(name_of=names.seen_by)
    tokens = await plane.prepare()

    async def listed(token: str) -> set[str]:
        headers = json_headers(token)
        await call(plane.edge, "POST", "/api/instances/i1/stop", headers=headers, body=b"{}")
        answer = await call(plane.edge, "GET", "/api/audit", headers=headers)
        return {item["target_name"] for item in answer.json()["items"] if "i1" in item["target"]}

    assert await listed(tokens.owner) == {""}
    assert await listed(tokens.operator) == {"their-secret-project"}


class Nobody:
    """Follows nothing."""

    def listen(self, saw: Any) -> None:
        """Tell of none."""
