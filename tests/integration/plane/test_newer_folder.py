"""A data folder that a newer version wrote is refused by that version's name, store by store."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import apsw
import duckdb
import pytest

from holdfast import __version__
from holdfast.kernel.clock import SystemClock
from holdfast.plane.settings import load_settings
from holdfast.plane.wiring.files import StoreError
from holdfast.plane.wiring.local_admin import open_directory
from holdfast.plane.wiring.plane import make_plane
from tests.support.logs import Lines

NEWER = "99.1.0"
STORES = (
    "journal.db", "accounts.db", "intake.db", "content.db", "towns.db", "contact.db",
    "telemetry.duckdb", "town_ticks.duckdb",
)  # fmt: skip
_ROWS = (
    "INSERT INTO migrations VALUES (9999, '9999_pre_future.sql', 'x', 1)",
    f"INSERT INTO written_by (version, since_ms) VALUES ('{NEWER}', 9000000000000)",
)


async def open_plane(home: Path) -> None:
    """Make a plane over the folder, and close it."""
    settings = load_settings({}, home=str(home), public_url="http://plane.test")
    plane = await make_plane(settings, clock=SystemClock(), log=Lines(), url="http://plane.test")
    await plane.stop()


def written_by_newer(path: Path) -> None:
    """Leave in a store what a newer version would."""
    connection: Any
    if path.suffix == ".duckdb":
        connection = duckdb.connect(str(path))
    else:
        connection = apsw.Connection(str(path))
    for row in _ROWS:
        connection.execute(row)
    connection.close()


@pytest.mark.parametrize("store", STORES)
async def test_a_newer_store_is_named_with_its_version_and_the_fix(
    tmp_path: Path, store: str
) -> None:
    home = tmp_path / "home"
    await open_plane(home)
    written_by_newer(home / store)
    before = {path.name for path in home.iterdir()}
    with pytest.raises(StoreError) as refused:
        await open_plane(home)
    assert store in str(refused.value)
    assert f"Holdfast {NEWER}" in str(refused.value)
    assert f"this is {__version__}" in str(refused.value)
    assert f"run Holdfast {NEWER} or later" in refused.value.fix
    assert "holdfast restore" in refused.value.fix
    assert not {name for name in before if "damaged" in name}
    assert (home / store).exists()


async def test_commands_that_open_the_accounts_themselves_say_the_same(tmp_path: Path) -> None:
    home = tmp_path / "home"
    await open_plane(home)
    written_by_newer(home / "accounts.db")
    async with AsyncExitStack() as closing:
        with pytest.raises(OSError, match=f"Holdfast {NEWER}.*run Holdfast {NEWER} or later"):
            await closing.enter_async_context(open_directory(load_settings({}, home=str(home))))
