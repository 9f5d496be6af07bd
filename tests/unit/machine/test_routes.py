from __future__ import annotations

import pytest

from holdfast.machine.controller.routes import authorised


@pytest.mark.parametrize("header", ["Bearer secret", "bEARER   secret"])
def test_the_token_passes(header: str) -> None:
    assert authorised(header, "secret")


@pytest.mark.parametrize(
    "header",
    ["", "Bearer ", "Bearer other", "Bearer secret more", "Basic secret", "Bearer \udcff\udcfe"],
)
def test_nothing_else_passes(header: str) -> None:
    assert not authorised(header, "secret")


def test_without_a_token_nobody_passes() -> None:
    assert not authorised("Bearer secret", "")
    assert not authorised("Bearer ", "")
