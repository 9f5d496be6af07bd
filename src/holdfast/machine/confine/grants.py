"""What a confined program may read and write, computed from what it needs.

Access is granted by list: everything else is hidden. A granted folder that contains a hidden one is
granted child by child, without that one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from holdfast.machine.confine.landlock import (
    IOCTL_DEV,
    PRIVATE,
    READ,
    READ_DIR,
    READ_FILE,
    TRUNCATE,
    WRITE,
    WRITE_FILE,
)

SYSTEM: Final = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix/store",
    "/sys/devices/system/cpu", "/sys/fs/cgroup",
)  # fmt: skip
"""Programs, libraries and settings of the host; of /sys, what runtimes read to size themselves."""

REPLACED: Final = ("/etc/resolv.conf", "/etc/localtime", "/etc/ssl/certs")
"""Links that distributions make to files outside /etc, which may be replaced at run time."""


_OF_THE_KERNEL: Final = ("acpi", "bus", "fs", "irq", "scsi", "sys", "sysrq-trigger")
"""Parts of /proc that belong to no process.

Root without a capability may write to them, and `sys/kernel/core_pattern` names a program that the
kernel runs.
"""

_OF_A_PREFIX: Final = ("bin", "lib", "lib64", "include", "libexec", "ssl", "pyvenv.cfg")
"""What belongs to a Python below its prefix, which may be a person's home."""

_NODE_MODULES: Final = "../lib/node_modules"
"""Where npm and other Node programs are, relative to the folder that links to them."""

_PACKAGE: Final = str(Path(__file__).parents[2])
_LINKS_MAX: Final = 40
"""Maximum links followed in one path; the kernel's own limit."""

_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
_USE: Final = READ_FILE | WRITE_FILE | READ_DIR | TRUNCATE | IOCTL_DEV


class ScopeError(ValueError):
    """A grant is not allowed; the message names it and the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What to grant: `read` and `write` may be inside `hidden`, because the program needs it.

    `programs` are folders and files of the host's user, such as those on PATH; parts inside a
    hidden folder are skipped. `asked_read` and `asked_write` come from an operator; they must not
    be hidden or, to be written, contain what is.
    """

    read: Sequence[str] = ()
    write: Sequence[str] = ()
    programs: Sequence[str] = ()
    asked_read: Sequence[str] = ()
    asked_write: Sequence[str] = ()
    hidden: Sequence[str] = ()


@dataclass(slots=True)
class Scope:
    """Granted real paths, and the symbolic links that lead to them."""

    read: set[str] = field(default_factory=set)
    write: set[str] = field(default_factory=set)
    links: dict[str, str] = field(default_factory=dict)

    def mounts(self) -> list[str]:
        """Return the bubblewrap arguments that make this the whole file system.

        Parents come before their contents, so that no mount covers a grant.
        """
        steps: dict[str, tuple[str, ...]] = {path: ("--tmpfs", path) for path in PRIVATE}
        steps |= {path: ("--symlink", to, path) for path, to in self._bare_links()}
        steps |= {path: ("--ro-bind", path, path) for path in self._read_mounts()}
        steps |= {path: ("--bind", path, path) for path in self.write}
        steps |= {"/proc": ("--proc", "/proc"), "/dev": ("--dev", "/dev")}
        kernel = (f"/proc/{name}" for name in _OF_THE_KERNEL)
        steps |= {path: ("--ro-bind-try", path, path) for path in kernel}
        ordered = sorted(steps, key=lambda path: (path.count("/"), path))
        return [word for path in ordered for word in steps[path]] + ["--remount-ro", "/"]

    def rules(self, *, alone: bool) -> list[tuple[int, str]]:
        """Return the rights that Landlock grants, inside bubblewrap or `alone`.

        Alone, /proc and /dev are the host's, and only the indispensable parts of them are granted:
        no terminals above all, because the operator's is one.
        """
        rules = [(READ, path) for path in sorted(self.read)]
        rules += [(WRITE, path) for path in sorted(self.write)]
        if alone:
            return [*rules, (READ, "/proc"), *((_USE, f"/dev/{name}") for name in _DEVICES)]
        own = [(WRITE, path) for path in (*PRIVATE, "/dev")]
        return [*rules, (READ_DIR, "/"), (_USE, "/proc"), *own]

    def _read_mounts(self) -> Iterator[str]:
        """Yield what to mount; the contents of a folder mounted alike are left out."""
        for path in self.read - self.write:
            around = self._granted_around(path)
            if around is None or around in self.write:
                yield path

    def _bare_links(self) -> Iterator[tuple[str, str]]:
        """Yield the links that are not already inside a granted folder."""
        for link, target in self.links.items():
            if self._granted_around(link) is None:
                yield link, target

    def _granted_around(self, path: str) -> str | None:
        """Return the nearest granted folder that contains this path."""
        return next((str(one) for one in Path(path).parents if str(one) in self.granted), None)

    @property
    def granted(self) -> set[str]:
        """Return every path that is granted."""
        return self.read | self.write


def find_scope(wishes: Wishes) -> Scope:
    """Return what is granted; raise ScopeError for an operator's path that is not allowed."""
    scope = Scope()
    hidden = tuple(os.path.realpath(path) for path in wishes.hidden)
    for path in (*wishes.asked_read, *wishes.asked_write):
        check_asked(path, hidden)
    for path in (*SYSTEM, *_around(REPLACED), *wishes.programs, *wishes.asked_read):
        real = _follow(path, scope.links)
        if not any(is_within(real, one) for one in hidden):
            scope.read.update(_without(real, hidden, scope.links))
    for path in (*_python(), _PACKAGE, *wishes.read):
        scope.read.update(_without(_follow(path, scope.links), hidden, scope.links))
    for path in (*wishes.asked_write, *wishes.write):
        real = _follow(path, scope.links)
        if any(is_within(one, real) for one in hidden):
            message = f"{path}: holds what agents must not see, so it is not theirs to write to"
            raise ScopeError(message)
        scope.write.update(_existing(real))
    return scope


def check_asked(path: str, hidden: Sequence[str]) -> None:
    """Raise ScopeError unless an operator may grant this path; `hidden` are real paths."""
    if not path.startswith("/"):
        message = f"{path!r}: want an absolute path"
        raise ScopeError(message)
    real = os.path.realpath(path)
    for one in hidden:
        if is_within(real, one) or is_within(one, real):
            message = f"{path}: is or holds what agents must not see ({one}); grant another folder"
            raise ScopeError(message)


def is_within(path: str, folder: str) -> bool:
    """Return whether a path is this folder or inside it; both are real."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def programs_on(search: str) -> Iterator[str]:
    """Yield the folders of a PATH, and the Node modules whose programs they link to."""
    for folder in search.split(":"):
        if folder.startswith("/"):
            yield folder
            yield os.path.normpath(f"{os.path.realpath(folder)}/{_NODE_MODULES}")


def _python() -> Iterator[str]:
    """Yield what belongs to the running Python, and to the one it was made from."""
    for prefix in sorted({sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}):
        yield from (f"{prefix}/{name}" for name in _OF_A_PREFIX)
    yield sys.executable


def _around(files: Sequence[str]) -> Iterator[str]:
    """Yield these; for a link to a file its folder, so that a replacement is visible."""
    for path in files:
        yield path
        real = Path(path).resolve()
        if str(real) != path and real.is_file() and len(real.parents) > 2:  # noqa: PLR2004  /run/x
            yield str(real.parent)


def _follow(path: str, links: dict[str, str]) -> str:
    """Return the real path, and add every link on the way to `links`."""
    done, rest = "/", [part for part in path.split("/") if part]
    followed = 0
    while rest:
        part = rest.pop(0)
        if part in {".", ".."}:
            done = os.path.normpath(f"{done}/{part}")
            continue
        here = f"{done.rstrip('/')}/{part}"
        if not os.path.islink(here) or followed >= _LINKS_MAX:  # noqa: PTH114  a text is at hand
            done = here
            continue
        followed += 1
        target = os.readlink(here)  # noqa: PTH115  as above
        links[here] = target
        done = "/" if target.startswith("/") else done
        rest = [part for part in target.split("/") if part] + rest
    return done


def _existing(path: str) -> tuple[str, ...]:
    return (path,) if os.path.lexists(path) and path != "/" else ()


def _without(path: str, hidden: Sequence[str], links: dict[str, str]) -> Iterator[str]:
    """Yield this path, or its parts that neither are nor contain what is hidden."""
    if not any(is_within(one, path) for one in hidden):
        yield from _existing(path)
        return
    if path in hidden:
        return
    try:
        with os.scandir(path) as found:
            children = [(one.path, one.is_symlink()) for one in found]
    except OSError:
        return  # not listable by us, so not grantable
    for child, is_link in children:
        if is_link:
            links[child] = os.readlink(child)  # noqa: PTH115  a text is at hand
        else:
            yield from _without(child, hidden, links)
