"""Leaves the observer the files that it is for, by the kernel (Landlock).

It reads what an agent wrote, with the rights of the controller, and SQLite opens a database by its
path: an agent that exchanges a folder for a link at the right moment would have it read another
account's. What is checked before a file is opened is checked again by the kernel here.
"""

from __future__ import annotations

from typing import Final

from holdfast.kernel.failure import reason
from holdfast.machine.confine.grants import Wishes, find_scope
from holdfast.machine.confine.landlock import READ, READ_FILE, WRITE, WRITE_FILE, Kernel
from holdfast.machine.controller.process import atomic_file
from holdfast.machine.observer.settings import Settings

_DEVICES: Final = ("/dev/null", "/dev/urandom")


def confine(settings: Settings) -> str:
    """Confine this process and its later threads; return why it is not, empty if it is.

    Kept are the host's programs and settings and this Python, to read, and the folders of
    `within` and the observer's own, to write: SQLite keeps files of its own beside a database.
    """
    kernel = Kernel()
    abi = kernel.find_abi()
    if not abi:
        return "this host has no Landlock"
    try:
        for folder in (*settings.within, settings.folder):
            atomic_file.make_folder(folder)
        scope = find_scope(
            Wishes(
                read=[path for path in settings.certificates if path.startswith("/")],
                write=[str(folder) for folder in (*settings.within, settings.folder)],
            )
        )
        rules = [(READ, path) for path in scope.read] + [(WRITE, path) for path in scope.write]
        kernel.give_up_privileges()
        kernel.restrict_files(abi, [*rules, *((READ_FILE | WRITE_FILE, at) for at in _DEVICES)])
    except OSError as error:
        return reason(error)
    return ""
