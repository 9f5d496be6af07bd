"""Which uses of a key in OpenClaw's configuration are changed to refer to the file."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.machine.agents.openclaw import keys
from holdfast.machine.agents.pairing import Place
from holdfast.machine.controller.config.document import merge

PLACE = Place(home="/h", port=4711, token="secret-token", python="/py", install="/o")
NAME = "KILOCODE_API_KEY"
REFERENCE = {"source": "file", "provider": "holdfast", "id": f"/{NAME}"}


def config(key: object) -> dict[str, Any]:
    return {"models": {"providers": {"kilo": {"baseUrl": "u", "apiKey": key}, "other": {}}}}


@pytest.mark.parametrize(
    "key", ["old-key", "${KILOCODE_API_KEY}", {"source": "env", "provider": "default", "id": NAME}]
)
def test_a_use_of_the_key_is_moved_once(key: object) -> None:
    patch = keys.referring(PLACE, config(key), NAME, "old-key")
    assert keys.moved_count(patch) == 1
    after = merge(config(key), patch)
    assert after["models"]["providers"]["kilo"] == {"baseUrl": "u", "apiKey": REFERENCE}
    assert after["secrets"]["providers"]["holdfast"]["path"] == "/h/keys.json"
    assert keys.referring(PLACE, after, NAME, "old-key") == {}


@pytest.mark.parametrize(
    "key", ["another-key", "", None, "${OTHER}", {"source": "env", "id": "OTHER"}, 3]
)
def test_what_is_no_use_of_it_stays(key: object) -> None:
    assert keys.referring(PLACE, config(key), NAME, "old-key") == {}


def test_without_an_old_key_nothing_equals_it() -> None:
    assert keys.referring(PLACE, config(""), NAME, "") == {}


@pytest.mark.parametrize("broken", [{}, {"models": 3}, {"models": {"providers": []}}])
def test_a_configuration_of_another_form_has_no_uses(broken: dict[str, Any]) -> None:
    assert keys.referring(PLACE, broken, NAME, "old-key") == {}
    assert keys.moved_count({}) == 0
