"""What is written to survive goes through one module: draft, sync, name, sync of the folder.

A rename without syncs looks the same in every test that kills a program, and may be empty or gone
after a loss of power. So names are given and content is synced in `disk/durable_file.py` alone;
who does it otherwise is named here with the reason.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.house.sources import PACKAGE, nodes, python_files, shown, uses

OWN_WAYS: Final = frozenset({
    "os.replace", "os.rename", "os.renames", "os.link", "os.fsync", "os.fdatasync", "os.sync",
    "os.O_TRUNC", "shutil.move", "shutil.copytree",
})  # fmt: skip
METHODS: Final = frozenset({"rename", "hardlink_to", "link_to", "write_text", "write_bytes"})
OF_STRUCTS: Final = frozenset({"structs.replace", "msgspec.structs.replace", "dataclasses.replace"})
NEW_FILE: Final = re.compile(r"[wx][bt+]*([:|]\w*)?")
"""A mode of `open` that makes a file anew, in that of `tarfile` with its compression."""

MODE_AT: Final = 2
"""Arguments of an `open` of which one may be its mode: the second, or a method's first."""


class Allowance(NamedTuple):
    """A file that does it in its own way, and why."""

    where: str
    reason: str


ALLOWANCES: Final = (
    Allowance("disk/durable_file.py", "the one way"),
    Allowance("machine/controller/process/atomic_file.py", "relative to a folder of the agent"),
    Allowance("machine/controller/sealed_settings.py", "empties a key; its cloud writes it anew"),
    Allowance("machine/controller/process/children.py", "writes to /proc"),
    Allowance("machine/agents/demo.py", "a program of its own, which stands in for an agent"),
    Allowance("machine/agents/scripted.py", "a program of its own, which works in a clone"),
    Allowance("machine/agents/openclaw/install.py", "a draft, synced as a whole before its name"),
    Allowance("outbox/salvage.py", "moves a damaged database; the next opening finishes or undoes"),
    Allowance("world/processes/log.py", "logs: the newest lines are not promised"),
    Allowance("machine/attempts/output.py", "output: the newest lines are not promised"),
    Allowance(
        "world/forges/git_clones.py", "clones, given up with their attempts when power fails"
    ),
    Allowance("world/clouds/docker/image_build.py", "a temporary folder, built and removed"),
    Allowance("world/clouds/docker/machines.py", "names a container anew; a tar file in memory"),
    Allowance("world/forges/git_store.py", "a draft, synced as a whole before its name"),
    Allowance("plane/log_file.py", "logs: the newest lines are not promised"),
    Allowance("plane/backup/archive.py", "a draft, synced and read again before its name"),
    Allowance("plane/wiring/backup.py", "a temporary folder, which is packed and removed"),
    Allowance("sdk/schema.py", "an empty draft, which SQLite fills and syncs"),
    Allowance("cli/editor.py", "a temporary file for a person's editor"),
    Allowance("sim/runner.py", "what a simulation tells a person"),
)


def own_ways(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of each call that names, syncs or truncates a file itself."""
    for line, name in uses(path):
        if name in OWN_WAYS:
            yield line, name
    for node in nodes(path):
        if isinstance(node, ast.Call) and (name := _of_a_path(node)):
            yield node.lineno, name


def _of_a_path(call: ast.Call) -> str:
    """Return the name of a call that can only be a path's, or that makes a file anew."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else ""
    # A text's `replace` has two arguments or more.
    alone = len(call.args) == 1 and not call.keywords
    if name in METHODS or (name == "replace" and alone and ast.unparse(function) not in OF_STRUCTS):
        return name
    opens = name == "open" or (isinstance(function, ast.Name) and function.id == "open")
    given = [*call.args[:MODE_AT], *(one.value for one in call.keywords if one.arg == "mode")]
    modes = [
        inner.value for one in given for inner in ast.walk(one) if isinstance(inner, ast.Constant)
    ]
    new = any(isinstance(mode, str) and NEW_FILE.fullmatch(mode) for mode in modes)
    return "open to write" if opens and new else ""


def _allowed(path: Path) -> bool:
    return any(path == PACKAGE / allowance.where for allowance in ALLOWANCES)


def test_files_that_survive_are_written_in_one_way() -> None:
    found = [
        f"{shown(path)}:{line} {name}"
        for path in python_files("src/holdfast")
        if not _allowed(path)
        for line, name in own_ways(path)
    ]
    assert not found, "use disk/durable_file.py, or add an allowance with a reason:\n" + (
        "\n".join(found)
    )


def test_no_allowance_is_left_over() -> None:
    unused = [one.where for one in ALLOWANCES if not any(own_ways(PACKAGE / one.where))]
    assert not unused


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import os\nos.replace(a, b)", ["os.replace"]),
        ("from os import fsync as flushed\nflushed(1)", ["os.fsync"]),
        ("import os\nf = os.open(p, os.O_CREAT | os.O_TRUNC)", ["os.O_TRUNC"]),
        ("draft.replace(path)", ["replace"]),
        ("Path(draft).rename(path)", ["rename"]),
        ("path.write_text('x')", ["write_text"]),
        ("with path.open('wb') as file: pass", ["open to write"]),
        ("open(path, 'xb')", ["open to write"]),
        ("open(path, mode='w')", ["open to write"]),
        ("open(path, 'wb', 0)", ["open to write"]),
        ("open(path, 'ab' if more else 'wb')", ["open to write"]),
        ("tarfile.open(path, mode='w:gz')", ["open to write"]),
        ("open(path, mode='r')", []),
        ("open(path, encoding='w')", []),
        ("text.replace('a', 'b')", []),
        ("msgspec.structs.replace(one, name=two)", []),
        ("structs.replace(one)", []),
        ("open(path, 'rb')", []),
        ("path.open('ab')", []),
    ],
)
def test_each_own_way_is_seen(source: str, names: list[str], tmp_path: Path) -> None:
    path = tmp_path / "one.py"
    path.write_text(source)
    assert [name for _, name in own_ways(path)] == names
