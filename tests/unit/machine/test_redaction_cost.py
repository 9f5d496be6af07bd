"""Every line an agent prints goes through the redactor: its cost must grow with the length only."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from holdfast.kernel.secret import redact
from holdfast.machine.controller.limits import LINE_CHARS_MAX


@contextmanager
def alarm(after_s: float) -> Iterator[None]:
    """Interrupt what takes longer; squaring the length would take minutes here, not seconds."""

    def ring(_number: int, _frame: object) -> None:
        pytest.fail("the redactor is stuck on one line")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, after_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("text", ["x", "token", "-", "a:", "token=", "Bearer ", "sk-"])
def test_no_line_holds_the_loop(text: str) -> None:
    with alarm(20):
        redact((text * (8 * LINE_CHARS_MAX))[: 8 * LINE_CHARS_MAX])


def test_the_value_goes_and_the_name_stays() -> None:
    assert redact("MY_API_KEY_OLD=abc next") == "MY_API_KEY_OLD=[hidden] next"
    assert redact('{"gatewayToken": "abc"}') == '{"gatewayToken": "[hidden]"}'
