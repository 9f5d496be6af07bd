from __future__ import annotations

import pytest

from holdfast.kernel.clock import SystemClock
from holdfast.kernel.secret import Secret
from holdfast.machine.controller.api.app import authorised
from holdfast.machine.controller.credentials import Credentials, Pair
from holdfast.machine.controller.log import Log


def credentials(token: str) -> Credentials:
    return Credentials(Pair(Secret("key"), Secret(token)), None, Log(SystemClock()))


SECRET = credentials("secret").knows_token


@pytest.mark.parametrize("header", ["Bearer secret", "bEARER   secret"])
def test_the_token_passes(header: str) -> None:
    assert authorised(header, SECRET)


@pytest.mark.parametrize(
    "header",
    ["", "Bearer ", "Bearer other", "Bearer secret more", "Basic secret", "Bearer \udcff\udcfe"],
)
def test_nothing_else_passes(header: str) -> None:
    assert not authorised(header, SECRET)


def test_without_a_token_nobody_passes() -> None:
    nobody = credentials("").knows_token
    assert not authorised("Bearer secret", nobody)
    assert not authorised("Bearer ", nobody)
