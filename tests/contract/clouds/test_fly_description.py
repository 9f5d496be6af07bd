"""What is known of Fly's API, against its published description where that is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.support.fly_description import OPERATIONS, differences, faults, request_faults

PUBLISHED = os.environ.get("HOLDFAST_FLY_OPENAPI", "")


@pytest.mark.skipif(not PUBLISHED, reason="HOLDFAST_FLY_OPENAPI names no description of Fly's API")
def test_our_description_is_part_of_the_published_one() -> None:
    described = YAML(typ="safe").load(Path(PUBLISHED).read_text())
    assert list(differences(described)) == []


def test_what_is_not_described_is_found() -> None:
    guest = {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256}
    assert list(faults(guest, "api.MachineGuest")) == []
    assert list(faults(guest | {"cpus": True}, "api.MachineGuest")) == [
        "body.cpus: want integer, not bool"
    ]
    assert list(faults(guest | {"gpus": 1}, "api.MachineGuest")) == [
        "body: api.MachineGuest has no field gpus"
    ]
    assert list(faults([{"cpus": 1, "memory_mb": 1}], "[api.MachineGuest]")) == [
        "body.0: api.MachineGuest lacks cpu_kind"
    ]
    assert list(faults({"policy": "never"}, "api.MachineRestart")) == [
        "body.policy: 'never' is none of no|always|on-failure"
    ]
    assert list(faults({"a": 1}, "{string}")) == ["body.a: want string, not int"]


def test_a_request_that_is_not_described_is_found() -> None:
    listing = OPERATIONS["GET", "/apps/{app_name}/machines"]
    assert list(request_faults(listing, {"metadata.team": "blue"}, None)) == []
    assert list(request_faults(listing, {"team": "blue"}, {})) == [
        "query: team is not described",
        "body: none is described",
    ]
    created = OPERATIONS["POST", "/apps"]
    assert list(request_faults(created, {}, None)) == ["body: want CreateAppRequest, there is none"]
