"""When a folder requests verdicts: news during a request is fetched after it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from holdfast.kernel.clock import ManualClock
from holdfast.sdk import limits
from holdfast.sdk.verdicts import Verdicts


class Folder:
    """A folder without verdicts, and a plane with configured answers."""

    def __init__(self, path: Path) -> None:
        self.clock = ManualClock(1_000_000)
        self.on_ask: Callable[[], None] = lambda: None
        self.status = 200
        self.verdicts = Verdicts(
            str(path), post=self.ask, read=lambda _look: [], write=lambda _change: False,
            question=dict, clock=self.clock,
        )  # fmt: skip

    def ask(self, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        asked: dict[str, Any] = json.loads(body)
        assert asked["known"] == 0
        self.on_ask()
        return self.status, {}, b'{"brain": "b", "upto": 0, "items": []}'

    def go(self) -> bool:
        """Ask if that is due; return whether the plane was asked."""
        fetch = self.verdicts.begin() if self.verdicts.due() else None
        if fetch is None:
            return False
        fetch()()
        return True


def test_what_is_told_while_a_question_is_on_its_way_is_asked_for_at_once(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.on_ask = lambda: folder.verdicts.note_newest(2)
    assert folder.go()
    folder.on_ask = lambda: None
    assert folder.verdicts.wanted
    assert folder.go(), "not half a minute later"
    assert not folder.verdicts.wanted
    assert not folder.go(), "and once"


def test_after_a_failure_it_is_not_asked_at_once_whatever_was_told(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.status = 503
    folder.on_ask = lambda: folder.verdicts.note_newest(2)
    assert folder.go()
    assert not folder.go()
    folder.clock.advance(limits.VERDICTS_EVERY_MS)
    assert folder.go()
