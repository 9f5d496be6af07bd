"""Which files of the package are pure: the one list that contract, house tests and coverage share.

The names are those of the contract `pure-files` in .importlinter. Run, it prints the pure files,
separated by commas, as `coverage report --include` wants them.
"""

from __future__ import annotations

import configparser
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGE: Final = ROOT / "src" / "holdfast"

PACKAGES: Final = ("kernel", "wire", "letters")
# In cli a module is named after its command.
_OTHERWISE_NAMED: Final = ("cli",)
# In a subject everything is pure but what carries effects out, what answers calls, and what keeps
# in memory what the outside last said or what was committed.
_SUBJECTS: Final = ("instances", "towns", "billing", "consent")
_SUBJECT_IO: Final = (
    "effects", "handlers", "inbox", "index", "calls", "work_handlers", "convoy_handlers",
    "board_handlers",
)  # fmt: skip
_ANYWHERE: Final = "holdfast.**."


def read_names() -> frozenset[str]:
    """Return the names that make a file pure wherever it lies, from the import contract."""
    contracts = configparser.ConfigParser(interpolation=None)
    contracts.read(ROOT / ".importlinter", encoding="utf-8")
    sources = contracts["importlinter:contract:pure-files"]["source_modules"].split()
    return frozenset(
        source.removeprefix(_ANYWHERE) for source in sources if source.startswith(_ANYWHERE)
    )


NAMES: Final = read_names()


def is_pure(path: Path) -> bool:
    """Return whether a file of the package must touch nothing: by its name, folder or package."""
    package, *folders = path.relative_to(PACKAGE).parts[:-1] or ("",)
    # A folder of a pure name is pure as a whole.
    named = bool({path.stem, *folders} & NAMES) and package not in _OTHERWISE_NAMED
    subject = package in _SUBJECTS and path.stem not in _SUBJECT_IO
    return named or subject or package in PACKAGES


def pure_files() -> list[Path]:
    """Return every pure file of the package, sorted."""
    return sorted(path for path in PACKAGE.rglob("*.py") if is_pure(path))


if __name__ == "__main__":
    sys.stdout.write(",".join(path.relative_to(ROOT).as_posix() for path in pure_files()))
