"""The command line of the program that runs an attempt; every path is the plane's."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to run and by which limits; 0 is no limit.

    `output` is the file to write to, `end` where the end is recorded; the program sees neither.
    `read` and `write` are what it may see beside the host's programs.
    """

    end: Path
    output: Path
    output_bytes: int
    memory_bytes: int
    processes: int
    folder: str
    read: tuple[str, ...]
    write: tuple[str, ...]
    accept_unconfined: bool
    command: tuple[str, ...]


def read_options(arguments: Sequence[str]) -> Options:
    """Return the options; exit with 2 and a usage line where they cannot be read."""
    parser = argparse.ArgumentParser(prog="holdfast.machine.attempts", allow_abbrev=False)
    parser.add_argument("--end", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--output-bytes", type=int, required=True)
    parser.add_argument("--memory-bytes", type=int, default=0)
    parser.add_argument("--processes", type=int, default=0)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--read", action="append", default=[])
    parser.add_argument("--write", action="append", default=[])
    parser.add_argument("--accept-unconfined", action="store_true")
    parser.add_argument("command", nargs="+")
    found = parser.parse_args(arguments)
    return Options(
        end=found.end,
        output=found.output,
        output_bytes=found.output_bytes,
        memory_bytes=found.memory_bytes,
        processes=found.processes,
        folder=found.folder,
        read=tuple(found.read),
        write=tuple(found.write),
        accept_unconfined=found.accept_unconfined,
        command=tuple(found.command),
    )
