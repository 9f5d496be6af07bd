"""What every test shares: no sockets in tests/unit, and the way to Chromium."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import hypothesis
import pytest
import pytest_timeout

from tests.support import power_loss
from tests.support.patience import patience
from tests.support.planes import PlaneProcess
from tests.support.slices import slice_of

if TYPE_CHECKING:
    from tests.support.container_engine import RealEngine

# An example that is slow to draw or to run is a busy machine, not a fault.
hypothesis.settings.register_profile(
    "untimed",
    deadline=None,
    max_examples=slice_of(100, here=50),  # of tests that do not say; drawn anew in each run
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("untimed")

TESTS = Path(__file__).parent
UNIT = TESTS / "unit"
LONGEST_FIRST = ("integration", "browser", "sim", "contract", "unit")
"""Files that take a minute and wait for most of it begin first, beside each other; quick ones fill
the end. By pytest-xdist's own order, of files by their number of tests, they would come last."""
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")


def pytest_configure() -> None:
    """Have planes of the suite be forks: a second of CPU less for each. Benches import this too."""
    PlaneProcess.forked = True


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage while tests are collected, and never look at what that made again.

    It is hundreds of megabytes of modules and items that live as long as the run.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_sessionfinish() -> None:
    """Have it collected at the end: DuckDB's binding complains of what is left."""
    gc.unfreeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files, and switch sockets off in tests/unit.

    Unix sockets stay: an event loop is made of a pair of them.
    """
    rank = {TESTS / name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: next((rank[up] for up in item.path.parents if up in rank), 0))
    for item in items:
        if item.path.is_relative_to(UNIT):
            item.add_marker(pytest.mark.disable_socket)


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(
    item: pytest.Item, settings: pytest_timeout.Settings
) -> Literal[True] | None:
    """Give a test longer where the machine is busy, as its own deadlines do."""
    seconds = patience(settings.timeout)
    pytest_timeout.pytest_timeout_set_timer(item, settings._replace(timeout=seconds))
    return True


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The Chromium to drive with playwright's `executable_path`.

    Where there is none the test is skipped, loudly; with CI=true that is an error.
    """
    found = next((path for name in CHROMIUM_NAMES if (path := shutil.which(name))), None)
    if found is None and os.environ.get("CI"):
        pytest.fail("no Chromium on PATH, and CI=true: install it")
    if found is None:
        pytest.skip("no Chromium on PATH: the dashboard was NOT tested in a browser")
    return found


@pytest.fixture(scope="session")
def strace() -> None:
    """The recording of system calls (tests/support/power_loss.py).

    Where it is not possible the test is skipped, loudly; with CI=true that is an error.
    """
    missing = power_loss.unavailable()
    if missing and os.environ.get("CI"):
        pytest.fail(f"{missing}, and CI=true")
    if missing:
        pytest.skip(missing)


@pytest.fixture(scope="session")
def engine() -> Iterator[RealEngine]:
    """Run one real engine of containers for all tests that want it (make test-docker)."""
    from tests.support.container_engine import running_engine  # noqa: PLC0415  a client of its own

    with running_engine("machines as containers") as found:
        yield found
