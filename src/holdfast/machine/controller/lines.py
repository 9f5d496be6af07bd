"""Lines out of the bytes that a child prints, one buffer per child and stream.

Bytes arrive in arbitrary pieces: a character may be split in two, a line may be endless. The
buffer decodes as it goes, keeps what is not finished and bounds it. It must never be shared by
two children: what one left unfinished does not belong to the next.
"""

from __future__ import annotations

import codecs

from holdfast.machine.controller.limits import LINE_CHARS_MAX

CUT = " [cut]"


class Lines:
    """An incremental splitter; invalid UTF-8 becomes the replacement character."""

    __slots__ = ("_cut", "_decoder", "_limit", "_rest")

    def __init__(self, limit: int = LINE_CHARS_MAX) -> None:
        """Keep at most `limit` characters of a line; the rest of it is dropped and marked."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._limit = limit
        self._rest = ""
        self._cut = False

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that `data` completes, without their ends."""
        *whole, last = self._decoder.decode(data).split("\n")
        lines = []
        for piece in whole:
            self._take(piece)
            lines.append(self._finish())
        self._take(last)
        return lines

    def rest(self) -> str:
        """Return what was left unfinished, and forget it; the child has ended."""
        self._take(self._decoder.decode(b"", final=True))
        return self._finish()

    def _take(self, piece: str) -> None:
        room = self._limit - len(self._rest)
        self._cut = self._cut or len(piece) > room
        self._rest += piece[:room]

    def _finish(self) -> str:
        line, cut = self._rest.removesuffix("\r"), self._cut
        self._rest, self._cut = "", False
        return line + CUT if cut else line
