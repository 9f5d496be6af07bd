"""A status that there is not is a wrong use of the option that was typed."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from holdfast.cli.main import make_app
from holdfast.cli.output import EXIT_USAGE


@pytest.mark.parametrize("given", ["bogus", "parked,bogus", "running,bogus"])
def test_an_unknown_status_names_its_option(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.cli.instance.connect", lambda: None)
    found = CliRunner().invoke(make_app("instance"), ["instance", "list", f"--status={given}"])
    assert found.exit_code == EXIT_USAGE
    said = " ".join(found.output.split())
    assert "--status: there is no 'bogus'" in said
    assert "parked" in said
