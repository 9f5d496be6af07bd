"""A number that is typed and is none is a wrong use, however large it is."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from holdfast.cli.main import make_app
from holdfast.cli.output import EXIT_USAGE

_SOME_NODE = "nd_0"


@pytest.mark.parametrize(
    "amount", ["1e999999", "1e99999999999999999999", "inf", "nan", "-1", "1e-7", "9" * 30, "ten"]
)
def test_an_amount_of_a_budget(amount: str) -> None:
    found = CliRunner().invoke(make_app("budget"), ["budget", "set", _SOME_NODE, f"--day={amount}"])
    assert found.exit_code == EXIT_USAGE
    assert "want an amount like 12.50" in " ".join(found.output.split())


@pytest.mark.parametrize("days", ["9" * 5_000, "0", "-1", "1.5"])
def test_days_of_older_content(days: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.cli.consent.connect", lambda: None)
    monkeypatch.setattr("holdfast.cli.consent._resolve", lambda _plane, name: name)
    arguments = ["consent", "grant", _SOME_NODE, "all", f"--backfill={days}", "--yes"]
    assert CliRunner().invoke(make_app("consent"), arguments).exit_code == EXIT_USAGE
