"""Agents' output reaches a terminal as text, never as a control sequence."""

from __future__ import annotations

import pytest
import typer

from holdfast.cli import output
from holdfast.cli.tables import Column

CLIPBOARD = "\x1b]52;c;ZXZpbA==\x07\u009b2J\rok\u007f"
SHOWN = "\\x1b]52;c;ZXZpbA==\\x07\\x9b2J\\x0dok\\x7f"


def test_nothing_that_is_shown_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    output.show(CLIPBOARD)
    output.show_facts([("said", CLIPBOARD)])
    output.say(CLIPBOARD)
    with pytest.raises(typer.Exit):
        output.fail(CLIPBOARD, fix=CLIPBOARD)
    told = capsys.readouterr()
    assert told.out.splitlines() == [SHOWN, f"said  {SHOWN}"]
    assert told.err.splitlines() == [SHOWN, f"error: {SHOWN}", f"  fix: {SHOWN}"]


def test_a_cell_is_as_wide_as_it_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_table([Column("one"), Column("two")], [("\x1b[2J", "x")], empty="")
    assert capsys.readouterr().out.splitlines()[2] == "\\x1b[2J  x"


def test_lines_and_tabs_stay() -> None:
    assert output.plain("a\tb\nc é 日本") == "a\tb\nc é 日本"
