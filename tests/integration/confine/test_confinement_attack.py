"""65 attempts of an agent at everything that is not its own, in each kind of confinement.

`stage.py` builds the targets and runs `attempts.py` as the agent. What succeeds with either
mechanism alone is listed here and in docs/process-cloud.md; without any nearly all succeed, which
shows that the attempts are real.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.machine.confine.probing import Kind
from tests.support.confinement import need
from tests.support.patience import patience

HERE = Path(__file__).parent
SOURCES = HERE.parents[2] / "src"
SECRET = "the-plane's-secret"
NOBODY = 65_534
LEAST = 30

SUCCEEDS: dict[Kind, set[str]] = {
    "bubblewrap+landlock": set(),
    # One network for all: bubblewrap has no rule for a port or an abstract socket.
    "bubblewrap": {
        "connect_by_ip6_multipath",
        "connect_by_multipath",
        "connect_to_abstract_socket",
        "connect_to_neighbour_agent",
        "connect_to_neighbour_controller",
        "connect_to_own_controller",
        "connect_with_first_message",
        "connect_with_first_packet",
        "take_neighbour_port",
        "take_neighbour_port_by_multipath",
        "take_plane_port",
    },
    # One list of processes for all, and Landlock has no rule for a Unix socket that has a path.
    "landlock": {
        "change_neighbour_limits",
        "connect_to_socket_in_run",
        "connect_to_socket_in_tmp",
        "list_controller_files",
        "see_other_command_lines",
    },
}
"""What succeeds in each kind: exactly this."""

NEEDED_RIGHTS_EVEN_UNCONFINED = {
    "change_kernel_settings", "change_owner", "find_inherited_descriptors", "find_secret_variables",
    "make_a_device", "mount_a_file_system", "mount_over_settings", "mount_proc_of_the_host",
    "open_a_disk_or_memory", "pivot_as_root_of_a_namespace", "read_by_file_handle",
    "read_through_root_of_first_process", "type_into_the_terminal", "uncover",
    "uncover_as_root_of_a_namespace", "write_to_control_group", "write_to_etc", "write_to_package",
}  # fmt: skip
"""What a normal user of a host may not do either, so that its failure proves nothing."""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder that every user may enter: pytest closes its own at each start of a run."""
    with tempfile.TemporaryDirectory(prefix="holdfast-attack-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def attack(kind: Kind, folder: Path, user: str) -> dict[str, Any]:
    """Return what the attempts got, as this user or as an unprivileged one."""
    need(kind)
    work = folder / "work"
    work.mkdir()
    for name in ("stage.py", "attempts.py"):
        shutil.copy(HERE / name, folder)
    python, sources = sys.executable, SOURCES
    become: tuple[str, ...] = ()
    if user == "nobody":
        python, sources = for_everybody(folder)
        become = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        os.chown(work, NOBODY, NOBODY)
    ended = subprocess.run(
        (*become, python, str(folder / "stage.py"), kind, str(work)),
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(sources), "HOLDFAST_API_KEY": SECRET},
        capture_output=True, text=True, timeout=patience(55), check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    told: dict[str, Any] = json.loads(ended.stdout)
    assert told["tried"] >= LEAST
    return told


def for_everybody(folder: Path) -> tuple[str, Path]:
    """Return a Python and sources that an unprivileged user can read; skip if there are none."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    python = "/usr/bin/python3"
    asked = subprocess.run(
        (python, "-c", "import sys; print(sys.version_info >= (3, 11))"),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if asked.stdout.strip() != "True":
        pytest.skip("/usr/bin/python3 is not there or older than 3.11")
    sources = folder / "src"
    for part in ("machine", "kernel"):
        shutil.copytree(SOURCES / "holdfast" / part, sources / "holdfast" / part)
    (sources / "holdfast" / "__init__.py").touch()
    return python, sources


@pytest.mark.parametrize("user", ["self", "nobody"])
@pytest.mark.parametrize("kind", SUCCEEDS)
def test_what_an_agent_gets_that_tries(open_folder: Path, kind: Kind, user: str) -> None:
    assert set(attack(kind, open_folder, user)["got"]) == SUCCEEDS[kind]


@pytest.mark.parametrize("user", ["self", "nobody"])
def test_the_attempts_succeed_where_nothing_is_confined(open_folder: Path, user: str) -> None:
    told = attack("none", open_folder, user)
    tried = {
        line.removeprefix("def ").partition("(")[0]
        for line in (HERE / "attempts.py").read_text().splitlines()
        if line.startswith("def ") and "(at: " in line
    }
    assert len(tried) == told["tried"]
    assert tried - set(told["got"]) <= NEEDED_RIGHTS_EVEN_UNCONFINED
