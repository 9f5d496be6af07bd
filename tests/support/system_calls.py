"""What a program did to a folder, read from the log of its system calls that strace wrote.

The log is of `strace -f -y -xx` with OPTIONS: every string whole and in hexadecimal, every
descriptor with its path. What changes a file in a way that cannot be followed raises
UnmodelledError. The use of it is in `power_loss`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = 0
"""The number of the watched folder itself."""
_LEFT_OUT: Final = "-shm"
_CALLS: Final = (
    "open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,lseek,ftruncate,truncate,fallocate,"
    "fsync,fdatasync,sync,syncfs,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,"
    "link,linkat,symlink,symlinkat,copy_file_range,sendfile,splice,mmap,chdir,"
    "clone,clone3,fork,vfork"
)
OPTIONS: Final = (
    "-f", "--seccomp-bpf", "-qq", "-y", "-xx", "-s", "67108864", "-e", f"trace={_CALLS}",
    "-e", "signal=none",
)  # fmt: skip
_LINE: Final = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)(.*)")
_BEGUN: Final = re.compile(r"(\d+) +(\w+)\((.*) <unfinished \.\.\.>")
_RESUMED: Final = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)")
_DESCRIPTOR: Final = re.compile(r"(AT_FDCWD|\d+)<((?:\\x[0-9a-f]{2})*)>(\(deleted\))?")
_STRING: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_SENT_FROM: Final = re.compile(r", \[(\d+)\](?: => \[\d+\])?, \d+$")
_INTEGER: Final = re.compile(r"(?<![\w.])-?\d+(?![\w.<])")


class UnmodelledError(Exception):
    """The program changed a watched file in a way that the replay cannot follow."""


class Written(NamedTuple):
    """Bytes written to a file."""

    file: int
    offset: int
    data: bytes


class Resized(NamedTuple):
    """A file truncated or extended."""

    file: int
    size: int


class Named(NamedTuple):
    """Names of one folder or two given to a file, or (None) removed, in one step."""

    entries: tuple[tuple[int, str, int | None], ...]
    new_folder: bool = False


class Synced(NamedTuple):
    """A sync that returned; `begun` is how many changes there were when it was called."""

    file: int
    path: str
    begun: int


class Line(NamedTuple):
    """A whole line of the program's stdout."""

    text: str


Change = Written | Resized | Named | Synced | Line


def read_tree(top: Path) -> tuple[dict[int, dict[str, int]], dict[int, bytes]]:
    """Return the folders and the files under `top`, by number; always numbered alike."""
    folders: dict[int, dict[str, int]] = {ROOT: {}}
    files: dict[int, bytes] = {}
    numbers = {top: ROOT}
    for path in sorted(top.rglob("*")):
        if path.name.endswith(_LEFT_OUT) or not (path.is_dir() or path.is_file()):
            continue
        number = numbers[path] = len(numbers)
        folders[numbers[path.parent]][path.name] = number
        if path.is_dir():
            folders[number] = {}
        else:
            files[number] = path.read_bytes()
    return folders, files


def put(content: bytearray, change: Written | Resized) -> None:
    """Change the content of a file as a change of it does."""
    if isinstance(change, Resized):
        del content[change.size :]
        content.extend(bytes(change.size - len(content)))
        return
    content.extend(bytes(max(0, change.offset - len(content))))
    content[change.offset : change.offset + len(change.data)] = change.data


class _Call(NamedTuple):
    process: int
    name: str
    arguments: str
    result: int
    begun: int

    def descriptor(self) -> tuple[int, str, bool]:
        """Return the first descriptor: its number (-1 the working folder), path, if it lives."""
        match = _DESCRIPTOR.match(self.arguments)
        if match is None:
            return -1, "", False
        number = -1 if match[1] == "AT_FDCWD" else int(match[1])
        return number, os.fsdecode(_unhex(match[2])), match[3] is None

    def strings(self) -> list[bytes]:
        return [_unhex(match) for match in _STRING.findall(self.arguments)]

    def last_integer(self) -> int:
        return int(_INTEGER.findall(_STRING.sub("", self.arguments))[-1])


def _unhex(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


class CallReader:
    """Turns lines of strace into changes, by following names, sizes and positions."""

    def __init__(self, watched: Path, before: Path, stdout: Path) -> None:
        self.changes: list[Change] = []
        self._top = str(watched)
        self._stdout = str(stdout)
        self._line = b""
        self._cwd = str(Path.cwd())
        self._begun: dict[int, tuple[str, int]] = {}
        self._group: dict[int, int] = {}
        # (process, descriptor) to its position; None appends.
        self._places: dict[tuple[int, int], int | None] = {}
        self._folders, self._contents = read_tree(before)
        self._sizes = {file: len(data) for file, data in self._contents.items()}
        self._next = max((*self._folders, *self._sizes)) + 1
        self._do: dict[str, Callable[[_Call], None]] = {
            name: do
            for names, do in (
                ("open openat creat", self._open),
                ("write writev pwrite64 pwritev pwritev2", self._write),
                ("lseek", self._seek),
                ("ftruncate", self._ftruncate),
                ("sendfile", self._send_file),
                ("fallocate", self._allocate),
                ("fsync fdatasync", self._sync),
                ("rename renameat renameat2", self._rename),
                ("unlink unlinkat rmdir", self._remove),
                ("mkdir mkdirat", self._mkdir),
                ("chdir", self._chdir),
                ("mmap", self._map),
                ("clone clone3 fork vfork", self._clone),
            )
            for name in names.split()
        }

    def read(self, line: str) -> None:
        """Take one line of the log."""
        if begun := _BEGUN.match(line):
            self._begun[int(begun[1])] = (f"{begun[1]} {begun[2]}({begun[3]}", len(self.changes))
            return
        since = len(self.changes)
        if resumed := _RESUMED.match(line):
            text, since = self._begun.pop(int(resumed[1]))
            line = text + resumed[3]
        match = _LINE.match(line)
        if match is None or match[4].startswith("-"):
            return
        call = _Call(int(match[1]), match[2], match[3], int(match[4]), since)
        self._do.get(call.name, self._unmodelled)(call)

    # ------------------------------------------------------------------ names

    def _inside(self, path: str) -> str | None:
        """Return the path within the watched folder, None if it is elsewhere or left out."""
        if path != self._top and not path.startswith(f"{self._top}/"):
            return None
        return None if path.endswith(_LEFT_OUT) else path[len(self._top) + 1 :]

    def _paths(self, call: _Call) -> list[str]:
        """Return the absolute paths that a call names."""
        bases = [os.fsdecode(_unhex(text)) for _, text, _ in _DESCRIPTOR.findall(call.arguments)]
        names = [os.fsdecode(text) for text in call.strings()]
        bases += [self._cwd] * (len(names) - len(bases))
        pairs = zip(bases, names, strict=False)
        return [
            os.path.normpath(f"{base}/{name}" if name[:1] != "/" else name) for base, name in pairs
        ]

    def _at(self, path: str) -> tuple[int, str, int | None]:
        """Return the folder of a path, its name there, and the file it names, if any."""
        *above, name = path.split("/")
        folder = ROOT
        for part in above:
            folder = self._folders[folder][part]
        return folder, name, ROOT if not path else self._folders[folder].get(name)

    def _name(self, *entries: tuple[int, str, int | None], new_folder: bool = False) -> None:
        for folder, name, file in entries:
            if file is None:
                self._folders[folder].pop(name, None)
            else:
                self._folders[folder][name] = file
        self.changes.append(Named(entries, new_folder))

    def _new(self) -> int:
        self._next += 1
        return self._next

    def _open(self, call: _Call) -> None:
        *_, path = self._paths(call)
        inside = self._inside(path)
        if not inside:
            return
        folder, name, file = self._at(inside)
        if file in self._folders:
            return
        if file is None:
            if "O_CREAT" not in call.arguments and call.name != "creat":
                raise UnmodelledError(f"{inside}: opened, and made by a call that is not modelled")
            file = self._new()
            self._sizes[file] = 0
            self._name((folder, name, file))
        elif "O_TRUNC" in call.arguments or call.name == "creat":
            self._resize(file, 0)
        place = None if "O_APPEND" in call.arguments else 0
        self._places[self._owner(call), call.result] = place

    def _mkdir(self, call: _Call) -> None:
        inside = self._inside(self._paths(call)[0])
        if inside:
            folder, name, _ = self._at(inside)
            made = self._new()
            self._folders[made] = {}
            self._name((folder, name, made), new_folder=True)

    def _remove(self, call: _Call) -> None:
        inside = self._inside(self._paths(call)[0])
        if inside:
            folder, name, file = self._at(inside)
            # A socket, say, is not modelled, and no file is missed.
            if file is not None:
                self._name((folder, name, None))

    def _rename(self, call: _Call) -> None:
        old, new = map(self._inside, self._paths(call))
        if old is None and new is None:
            return
        if not old or not new:
            raise UnmodelledError(f"{call.name} of {old} to {new}")
        folder, name, file = self._at(old)
        new_folder, new_name, other = self._at(new)
        left = other if "RENAME_EXCHANGE" in call.arguments else None
        self._name((new_folder, new_name, file), (folder, name, left))

    def _chdir(self, call: _Call) -> None:
        self._cwd = self._paths(call)[0]

    def _clone(self, call: _Call) -> None:
        mine = self._owner(call)
        if "CLONE_FILES" in call.arguments:
            self._group[call.result] = mine
            # It may have run, and opened files, before its parent's call returned.
            for owner, number in list(self._places):
                if owner == call.result:
                    self._places[mine, number] = self._places.pop((owner, number))
            return
        for (owner, number), place in list(self._places.items()):
            if owner == mine:
                self._places[call.result, number] = place

    def _owner(self, call: _Call) -> int:
        return self._group.get(call.process, call.process)

    # ------------------------------------------------------------------ content

    def _file(self, call: _Call) -> tuple[int, int] | None:
        """Return the descriptor and the file that a call is about; None if it is not watched."""
        number, path, alive = call.descriptor()
        inside = self._inside(path)
        if inside is None or not alive:
            return None
        file = self._at(inside)[2]
        if file is None:
            raise UnmodelledError(f"{call.name} of {inside}, which was not seen to be made")
        return number, file

    def _write(self, call: _Call) -> None:
        if call.descriptor()[1] == self._stdout:
            self._say(b"".join(call.strings())[: call.result])
            return
        about = self._file(call)
        if about is None:
            return
        number, file = about
        data = b"".join(call.strings())[: call.result]
        if call.name.startswith("p"):
            arguments = call.arguments
            if call.name == "pwritev2":
                arguments = arguments.rpartition(",")[0]
            offset = call._replace(arguments=arguments).last_integer()
        else:
            offset = self._advance(call, number, file, len(data))
        self._sizes[file] = max(self._sizes[file], offset + len(data))
        self.changes.append(Written(file, offset, data))

    def _send_file(self, call: _Call) -> None:
        """Copy within the kernel: what a file that is watched held then, written to another."""
        about = self._file(call)
        if about is None:
            return
        _, (_, source, deleted) = _DESCRIPTOR.findall(call.arguments)[:2]
        inside = self._inside(os.fsdecode(_unhex(source)))
        file = None if inside is None or deleted else self._at(inside)[2]
        begin = _SENT_FROM.search(call.arguments)
        if file is None or begin is None:
            raise UnmodelledError(f"{call.name} to {call.descriptor()[1]}: of an unknown content")
        first = int(begin[1])
        data = self._content(file)[first : first + call.result]
        number, target = about
        offset = self._advance(call, number, target, len(data))
        self._sizes[target] = max(self._sizes[target], offset + len(data))
        self.changes.append(Written(target, offset, data))

    def _content(self, file: int) -> bytes:
        """Return what a file holds as its readers see it, synced or not."""
        content = bytearray(self._contents.get(file, b""))
        for change in self.changes:
            if isinstance(change, Written | Resized) and change.file == file:
                put(content, change)
        return bytes(content)

    def _advance(self, call: _Call, number: int, file: int, length: int) -> int:
        key = self._owner(call), number
        if key not in self._places:
            raise UnmodelledError(f"{call.name} to {call.descriptor()[1]}: at an unknown position")
        offset = self._places[key]
        if offset is None:
            return self._sizes[file]
        self._places[key] = offset + length
        return offset

    def _say(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        self.changes.extend(Line(line.decode(errors="replace")) for line in lines)

    def _seek(self, call: _Call) -> None:
        key = self._owner(call), call.descriptor()[0]
        if self._places.get(key) is not None:
            self._places[key] = call.result

    def _ftruncate(self, call: _Call) -> None:
        about = self._file(call)
        if about is not None:
            self._resize(about[1], call.last_integer())

    def _allocate(self, call: _Call) -> None:
        about = self._file(call)
        if about is None:
            return
        mode, offset, length = _INTEGER.findall(call.arguments)[-3:]
        if int(mode):
            raise UnmodelledError(f"fallocate of {call.descriptor()[1]} with mode {mode}")
        size = int(offset) + int(length)
        if size > self._sizes[about[1]]:
            self._resize(about[1], size)

    def _resize(self, file: int, size: int) -> None:
        self._sizes[file] = size
        self.changes.append(Resized(file, size))

    def _sync(self, call: _Call) -> None:
        about = self._file(call)
        if about is not None:
            path = self._inside(call.descriptor()[1]) or ""
            self.changes.append(Synced(about[1], path, call.begun))

    def _map(self, call: _Call) -> None:
        writable = "PROT_WRITE" in call.arguments and "MAP_SHARED" in call.arguments
        paths = [os.fsdecode(_unhex(text)) for _, text, _ in _DESCRIPTOR.findall(call.arguments)]
        if writable and any(self._inside(path) is not None for path in paths):
            raise UnmodelledError(f"{paths[0]} is written through a mapping")

    def _unmodelled(self, call: _Call) -> None:
        paths = [os.fsdecode(_unhex(text)) for _, text, _ in _DESCRIPTOR.findall(call.arguments)]
        paths += self._paths(call)
        if any(self._inside(path) is not None for path in paths):
            raise UnmodelledError(f"{call.name} of {', '.join(paths)}")
