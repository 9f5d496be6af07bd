"""The plane's address and key, and whether sending is allowed at all.

Looked up again before each send, so that a key that appears or changes later works, in this process
and in a subprocess without the variable: arguments first, then the environment, then a file of mode
0600 outside the folder. The key is never written into the folder.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from typing import Final, NamedTuple

from holdfast.disk.durable_file import make_folder, write_file

URL_NAMES: Final = ("HOLDFAST_URL", "GRADATA_ENDPOINT")
KEY_NAMES: Final = ("HOLDFAST_API_KEY", "GRADATA_API_KEY")
SWITCHES: Final = ("HOLDFAST_DISABLE_WRITE_THROUGH", "GRADATA_DISABLE_WRITE_THROUGH")
FILE_NAME: Final = "HOLDFAST_KEY_FILE"

_YES: Final = frozenset({"1", "true", "yes", "on"})
_OTHERS: Final = 0o077
_FILE_BYTES_MAX: Final = 16_384
_INGEST: Final = "/api/v1/ingest"


class Found(NamedTuple):
    """The result of a lookup: `key` is empty if there is none, `problem` is then the remedy.

    `url_from` and `key_from` name the sources, for a doctor; never the key itself.
    """

    url: str
    key: str
    url_from: str
    key_from: str
    problem: str

    def __repr__(self) -> str:
        return f"Found(url={self.url!r}, key_from={self.key_from!r}, problem={self.problem!r})"

    def mark(self) -> str:
        """Return a fingerprint of address and key, empty if there is no destination."""
        if not self.url or not self.key:
            return ""
        return f"{zlib.crc32(f'{self.url} {self.key}'.encode('utf-8', 'surrogatepass')):08x}"


def switched_off(environment: Mapping[str, str] | None = None) -> str:
    """Return the name of the kill switch that is set to 1, true, yes or on, else nothing."""
    environment = os.environ if environment is None else environment
    for name in SWITCHES:
        if environment.get(name, "").strip().lower() in _YES:
            return name
    return ""


def key_file(environment: Mapping[str, str] | None = None) -> str:
    """Return the key file's path: HOLDFAST_KEY_FILE, or ~/.config/holdfast/brain.json."""
    environment = os.environ if environment is None else environment
    named = environment.get(FILE_NAME, "")
    if named:
        return named
    base = environment.get("XDG_CONFIG_HOME", "") or os.path.expanduser("~/.config")
    return os.path.join(base, "holdfast", "brain.json")


def keep(url: str, api_key: str, *, path: str | None = None) -> str:
    """Write address and key to the file, mode 0600; return its path. Raise OSError."""
    import json  # noqa: PLC0415  # as below

    path = path or key_file()
    make_folder(os.path.dirname(path) or os.curdir)
    write_file(path, json.dumps({"url": url, "api_key": api_key}).encode() + b"\n")
    return path


class Destination:
    """Finds address and key; cheap enough for four calls a second."""

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Prefer the caller's own `url` and `api_key`; raise ValueError for one of another type."""
        for argument, given in (("url", url), ("api_key", api_key)):
            if given is not None and not isinstance(given, str):
                wrong = f"{argument}: want a str, got {type(given).__name__}"
                raise ValueError(wrong)  # as every wrong argument of a brain
        self._url = url or ""
        self._key = api_key or ""
        self._environment = os.environ if environment is None else environment
        self._stamp: tuple[str, int, int, int, int] | None = None
        self._file: tuple[dict[str, str], str] = ({}, "")

    def find(self) -> Found:
        """Return the current destination."""
        url, url_from = self._from_environment(self._url, URL_NAMES)
        key, key_from = self._from_environment(self._key, KEY_NAMES)
        problem = ""
        if not (url and key):
            path = key_file(self._environment)
            kept, problem = self._read(path)
            if not url and kept.get("url"):
                url, url_from = kept["url"], path
            if not key and kept.get("api_key"):
                key, key_from = kept["api_key"], path
        if not url:
            problem = problem or f"no address: set {URL_NAMES[0]}"
        elif not key:
            problem = problem or f"no key: set {KEY_NAMES[0]}"
        else:
            problem = _unusable(url, url_from, key, key_from)
        return Found(ingest_url(url) if url else "", key.strip(), url_from, key_from, problem)

    def _from_environment(self, given: str, names: tuple[str, ...]) -> tuple[str, str]:
        if given:
            return given, "argument"
        for name in names:
            value = self._environment.get(name, "").strip()
            if value:
                return value, name
        return "", ""

    def _read(self, path: str) -> tuple[dict[str, str], str]:
        """Return the file's content, and what is wrong with it; read only after a change."""
        try:
            about = os.stat(path)
        except OSError:
            self._stamp = None
            return {}, ""
        stamp = (path, about.st_ino, about.st_mtime_ns, about.st_size, about.st_mode)
        if stamp != self._stamp:
            self._stamp, self._file = stamp, _parse(path, about)
        return self._file


def _unsendable(text: str, what: str) -> str:
    """Return what is wrong with a text that no request can carry; never the text itself."""
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return f"{what} has a character that no request can carry"
    return "" if text.isprintable() else f"{what} has a character that cannot be printed"


def _parse(path: str, about: os.stat_result) -> tuple[dict[str, str], str]:
    if about.st_mode & _OTHERS:
        return {}, f"{path}: others can read it; chmod 600 it"
    if about.st_uid != os.geteuid():
        return {}, f"{path}: belongs to another user"
    import json  # noqa: PLC0415  # where a variable names the key, no file is read

    try:
        with open(path, "rb") as file:
            read = json.loads(file.read(_FILE_BYTES_MAX))
    except (OSError, ValueError, RecursionError) as error:
        return {}, f"{path}: cannot be read: {type(error).__name__}"
    if not isinstance(read, dict):
        return {}, f'{path}: want {{"url": …, "api_key": …}}'
    return {name: read[name] for name in ("url", "api_key") if isinstance(read.get(name), str)}, ""


def _unusable(url: str, url_from: str, key: str, key_from: str) -> str:
    """Return what is wrong with an address or key, never quoting either; nothing for good ones."""
    from holdfast.kernel.secret import Secret, SecretError  # noqa: PLC0415  # only for who sends

    try:
        Secret.read(key, f"the key of {key_from}")
    except SecretError as error:
        return str(error)
    if "@" in url.partition("://")[2].partition("/")[0]:
        return f"the address of {url_from}: want an https address, without a name and password"
    return _unsendable(url.strip(), f"the address from {url_from}")


def verdicts_url(ingest: str) -> str:
    """Return the address for verdicts, next to the one for batches."""
    base, question, query = ingest.partition("?")
    return base.removesuffix("/ingest") + "/verdicts" + question + query


def ingest_url(base: str) -> str:
    """Return the address for batches, from the plane's own or a longer one."""
    base, question, query = base.strip().partition("?")
    base = base.rstrip("/")
    if not base.endswith("/ingest"):
        base = base.removesuffix("/v1").removesuffix("/api") + _INGEST
    return base + question + query
