"""What `make dead` must see, and what it must not take for dead."""

from __future__ import annotations

from pathlib import Path

from tools import dead_code

MODULE = '''
"""A module."""
from typing import NamedTuple


class Row(NamedTuple):
    said_to_others: int


def used() -> Row:
    return Row(1)


def never_said() -> None:
    pass


class NeverMade:
    def neither(self) -> None:
        pass


LEFT_OVER = 3
'''


def test_what_nothing_uses_is_named_and_fields_are_not(tmp_path: Path) -> None:
    module, test = tmp_path / "source" / "module.py", tmp_path / "test_module.py"
    module.parent.mkdir()
    module.write_text(MODULE)
    test.write_text("from module import used\n\n\ndef helper() -> None:\n    used()\n")
    dead = dead_code.find_dead([tmp_path], (module.parent,))
    assert [line.partition("unused ")[2] for line in dead] == [
        "function never_said",
        "class NeverMade",
        "method neither",
        "variable LEFT_OVER",
    ]
