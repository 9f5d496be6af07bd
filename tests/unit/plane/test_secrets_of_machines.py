"""Sending new secrets to a controller: order, routes, and failures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec
import pytest

from holdfast.instances.limits import KEY_LIFE_MS
from holdfast.instances.ports import Secrets
from holdfast.kernel.clock import ManualClock
from holdfast.plane.wiring.machine_secrets import ControllersAsHolders, OwnMint
from holdfast.wire.controller.calls import ControllerError
from holdfast.wire.controller.endpoint import A, ControllerEndpoint

ALL = Secrets(api_key="hfm_new", gateway_token="g" * 64, proxy_token="p" * 64)


class Controllers:
    """Accepts calls unless a path, or a name in a body, is refused."""

    def __init__(self, refuses: Mapping[str, ControllerError]) -> None:
        self.refuses = refuses
        self.took: list[tuple[str, Any]] = []

    async def call(
        self, instance_id: str, endpoint: ControllerEndpoint[Any, A], *, body: Any, **_more: Any
    ) -> A:
        assert (instance_id, endpoint.method) == ("one", "POST")
        sent = msgspec.to_builtins(body)
        for word in (endpoint.path, *sent):
            if word in self.refuses:
                raise self.refuses[word]
        self.took.append((endpoint.path, sent))
        return msgspec.convert({"ok": True}, endpoint.response)

    async def capabilities(self, instance_id: str) -> frozenset[str]:
        raise AssertionError(instance_id)


async def tell(secrets: Secrets, **refuses: ControllerError) -> tuple[str, list[tuple[str, Any]]]:
    holders = ControllersAsHolders()
    controllers = Controllers({name.replace("__", "/"): why for name, why in refuses.items()})
    holders.controllers = cast("Any", controllers)
    return await holders.tell("one", secrets, overlap_ms=5_000), controllers.took


async def test_the_key_comes_first_and_the_agent_is_left_alone() -> None:
    refused, took = await tell(ALL)
    assert refused == ""
    assert took == [
        ("/_kilo/env/patch", {"HOLDFAST_API_KEY": "hfm_new"}),
        (
            "/_holdfast/credentials/rotate",
            {"gatewayToken": "g" * 64, "proxyToken": "p" * 64, "overlapMs": 5_000},
        ),
    ]


async def test_only_what_is_new_is_told() -> None:
    _, took = await tell(Secrets(api_key="hfm_new"))
    assert [path for path, _ in took] == ["/_kilo/env/patch"]
    _, took = await tell(ALL._replace(api_key=""))
    assert [path for path, _ in took] == ["/_holdfast/credentials/rotate"]


async def test_a_controller_that_knows_the_contracts_name_alone_is_told_by_that() -> None:
    unknown = ControllerError("refused", "no such key", status=400)
    refused, took = await tell(Secrets(api_key="hfm_new"), HOLDFAST_API_KEY=unknown)
    assert refused == ""
    assert took == [("/_kilo/env/patch", {"KILOCODE_API_KEY": "hfm_new"})]


@pytest.mark.parametrize("trouble", ["unreachable", "timeout", "too_old", "unauthorised"])
async def test_what_was_not_taken_is_said_without_the_secret(trouble: Any) -> None:
    error = ControllerError(trouble, "it did not")
    refused, took = await tell(ALL, HOLDFAST_API_KEY=error)
    assert refused.startswith(trouble)
    assert "hfm_new" not in refused
    assert took == [], "the tokens wait for the key"


async def test_nobody_can_be_told_before_there_is_anybody() -> None:
    assert await ControllersAsHolders().tell("one", ALL, overlap_ms=0) != ""


async def test_keys_end_after_thirty_days() -> None:
    class Fixed:
        def token(self, prefix: str) -> str:
            return prefix + "x"

        def uuid(self) -> str:
            raise AssertionError

    clock = ManualClock(1_000)
    assert await OwnMint(Fixed(), clock).mint("one", "acme") == ("hfm_x", 1_000 + KEY_LIFE_MS)
