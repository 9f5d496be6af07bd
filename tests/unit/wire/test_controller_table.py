"""The controller's table: what a row says holds for both sides."""

from __future__ import annotations

import re

import msgspec
import pytest

from holdfast.plane.openapi import CONTROLLER, document
from holdfast.wire.controller.agent import DRAIN_MS, DRAIN_MS_MAX
from holdfast.wire.controller.config import CONFIG_RESTORE, ReplaceOrder
from holdfast.wire.controller.endpoint import PREFIXES
from holdfast.wire.controller.machine import EnvOrder, RotateOrder, TokenAnswer
from holdfast.wire.controller.table import CAPABILITIES, ROUTES


def test_a_row_is_asked_below_one_prefix_and_known_by_the_rest() -> None:
    assert CONFIG_RESTORE.target({"version": "base"}) == "/_kilo/config/restore/base"
    assert CONFIG_RESTORE.tail == "config/restore/{version}"
    with pytest.raises(KeyError, match="version"):
        CONFIG_RESTORE.target()
    assert all(row.path.startswith(PREFIXES) for row in ROUTES)


def test_what_needs_no_announcement_is_what_no_plane_calls_beside_health_and_version() -> None:
    assert {row.name for row in ROUTES if not row.capability} == {
        "health", "version", "clawmetry-dashboard-url", "clawmetry-start-sync",
    }  # fmt: skip
    assert list(CAPABILITIES) == sorted(set(CAPABILITIES))


def test_the_form_of_a_wait_ends_at_its_greatest() -> None:
    for given, good in (
        ("0", True), ("000", True), ("9", True), ("999999", True), ("2999999", True),
        ("3599999", True), (str(DRAIN_MS_MAX), True), ("0003600000", True),
        (str(DRAIN_MS_MAX + 1), False), ("3600001", False), ("3700000", False),
        ("9999999", False), ("10000000", False), ("", False), ("-1", False), ("1.0", False),
        ("\u0663", False),
    ):  # fmt: skip
        assert bool(re.fullmatch(DRAIN_MS.pattern, given)) is good, given


def test_what_holds_secrets_or_a_configuration_is_not_printed() -> None:
    secret = "s3cret" * 6
    for told in (
        ReplaceOrder(config={"token": secret}),
        EnvOrder(ours=secret),
        RotateOrder(gateway_token=secret, proxy_token=secret, overlap_ms=1),
        TokenAnswer(token=secret),
    ):
        assert secret not in repr(told)


def test_it_is_an_openapi_document() -> None:
    made = document(ROUTES, version="1", api=CONTROLLER)
    assert len(made["paths"]) == len(ROUTES)
    replace = made["paths"]["/_kilo/config/replace"]["post"]
    assert replace["security"] == [{"token": []}]
    assert "ReplaceOrder" in replace["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert made["paths"]["/_kilo/health"]["get"]["security"] == []
    assert msgspec.json.encode(made)
