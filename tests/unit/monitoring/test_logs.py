"""Log lines: one an event, with ids, and no secret however it got there."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from holdfast.kernel.secret import HIDDEN, Secret
from holdfast.monitoring.logs import VALUE_CHARS_MAX, clean, set_up


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_is_one_json_object(out: io.StringIO) -> None:
    log = set_up(stream=out)
    log.info("effect.over", actor="lamp/hall", effect="e1", attempts=2, lanes=("a", "b"))
    log.debug("event.applied", actor="lamp/hall")
    (line,) = lines(out)
    at = line.pop("at")
    assert at.endswith("Z")
    assert line == {
        "event": "effect.over",
        "level": "info",
        "actor": "lamp/hall",
        "effect": "e1",
        "attempts": 2,
        "lanes": ["a", "b"],
    }


def test_an_exception_brings_its_traceback_redacted(out: io.StringIO) -> None:
    log = set_up(stream=out)
    log.error("effect.bug", exc_info=ValueError("token=abcdef0123456789 is wrong"))
    (line,) = lines(out)
    assert "ValueError" in line["exception"]
    assert "abcdef0123456789" not in out.getvalue()


def test_the_standard_library_comes_out_alike(out: io.StringIO) -> None:
    set_up(stream=out)
    logging.getLogger("some.library").warning("password=%s", "hunter2hunter2")
    (line,) = lines(out)
    assert line["level"] == "warning"
    assert line["event"] == f"password={HIDDEN}"


@pytest.mark.parametrize(
    ("said", "given"),
    [
        (ValueError("hunter2"), ()),
        ("%s", (ValueError("hunter2"),)),
        ("%r %d", (ValueError("hunter2"), 1)),
        ("%(why)s", ({"why": ValueError("hunter2")},)),
    ],
)
def test_an_exception_that_a_library_logs_is_told_without_its_text(
    out: io.StringIO, said: object, given: tuple[object, ...]
) -> None:
    set_up(stream=out)
    logging.getLogger("some.library").error(said, *given)
    (line,) = lines(out)
    assert "ValueError" in line["event"]
    assert "hunter2" not in out.getvalue()


def test_lines_for_people_are_redacted_too(out: io.StringIO) -> None:
    log = set_up(stream=out, form="text")
    log.info("sign-in", api_key="0123456789", note="Bearer abcdefgh")
    assert "0123456789" not in out.getvalue()
    assert "abcdefgh" not in out.getvalue()
    assert "sign-in" in out.getvalue()


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="loud"):
        set_up(level="loud")


@pytest.mark.parametrize(
    ("name", "value", "cleaned"),
    [
        ("note", Secret("s3cret"), HIDDEN),
        ("password", "hunter2", HIDDEN),
        ("password", "", ""),
        ("env", {"API_KEY": "x1", "HOME": "/root"}, {"API_KEY": HIDDEN, "HOME": "/root"}),
        ("args", [{"token": "t"}, 3, None, True], [{"token": HIDDEN}, 3, None, True]),
        ("found", {"b", "a"}, ["a", "b"]),
        ("body", b"abc", "(3 bytes)"),
        ("reason", "enc:v1:AAAA and more", f"{HIDDEN} and more"),
    ],
)
def test_values_are_cleaned(name: str, value: Any, cleaned: Any) -> None:
    assert clean(name, value) == cleaned


def test_long_and_deep_values_are_cut() -> None:
    assert len(clean("reason", "x" * 100_000)) < VALUE_CHARS_MAX + 50
    deep: Any = "end"
    for _ in range(50):
        deep = [deep]
    assert len(str(clean("found", deep))) < VALUE_CHARS_MAX
