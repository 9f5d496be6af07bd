"""What form a text must have, in words with an example, for each pattern of the wire.

Errors say this in place of the pattern. A test holds that each pattern of the API has words here,
and that its example fits it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from holdfast.wire.api.costs import DAY_PATTERN
from holdfast.wire.api.endpoint import ID_PATTERN, NAME_PATTERN
from holdfast.wire.api.maintenance import PATH_PATTERN
from holdfast.wire.api.pairing import CHANNEL_PATTERN, CODE_PATTERN, REQUEST_PATTERN
from holdfast.wire.api.secrets import CONFIG_PATH_PATTERN
from holdfast.wire.api.upgrades import VERSION_PATTERN
from holdfast.wire.browser_keys import KEY_ID_PATTERN


class Form(NamedTuple):
    """A form in words, and a text that has it."""

    words: str
    example: str

    def __str__(self) -> str:
        """Return both, as a clause."""
        return f"want {self.words}, such as {self.example!r}"


_ID: Final = Form("a letter or digit, then letters, digits, and any of _ . : @ -", "agent-1")
_NAME: Final = Form(
    "small letters, digits and hyphens, at most 63, with no hyphen at either end", "my-agent"
)

FORMS: Final[Mapping[str, Form]] = {
    ID_PATTERN: _ID,
    NAME_PATTERN: _NAME,
    r"[a-z0-9-]{1,63}": _NAME,
    PATH_PATTERN: Form("a path below the state folder, without a slash at either end", "a/b.json"),
    DAY_PATTERN: Form("a day as year-month-day", "2026-11-21"),
    CHANNEL_PATTERN: Form("small letters, digits, _ and -, a letter first", "telegram"),
    CODE_PATTERN: Form("at most 32 letters and digits", "AB12CD34"),
    REQUEST_PATTERN: Form("the id of a request, as its list shows it", "telegram:k3J9x2"),
    CONFIG_PATH_PATTERN: Form("names joined by dots, as in the configuration", "env.MY_TOKEN"),
    VERSION_PATTERN: Form("a version, as holdfast agents list shows it", "2026.9.6"),
    KEY_ID_PATTERN: Form("the id of a key, 25 hexadecimal digits", "0123456789abcdef012345678"),
    r"[A-Za-z_][A-Za-z0-9_]*": Form("letters, digits and _, no digit first", "LOG_LEVEL"),
    r"[A-Za-z0-9_-]*": Form("base64url without padding", "3q2-7w"),
    r"[A-Z]{3}": Form("three capital letters, as currencies have them", "EUR"),
    r"([0-9a-f]{7,64})?": Form("a commit, 7 to 64 hexadecimal digits, or nothing", "9fceb02"),
    r"([A-Za-z0-9][A-Za-z0-9._/-]*)?": Form("a branch, or nothing", "feature/a"),
    r"[a-z0-9][a-z0-9_-]*": Form("small letters, digits, _ and -", "code-style"),
    r"[0-9a-z-]{1,64}": Form("the name of a kept version, as its list shows it", "0a1b2c3d4e5f"),
    r"[A-Za-z-]{1,32}": Form("a word of letters and hyphens", "active"),
    r"[A-Za-z0-9]{0,8}": Form("true or false", "true"),
    r"[a-z][a-z0-9-]{0,31}": Form("a kind of actor", "instance"),
    rf"[a-z][a-z0-9-]{{0,31}}/{ID_PATTERN}": Form("an actor, as kind/id", "instance/agent-1"),
    r"[A-Za-z0-9_.:@=/+-]{1,256}": Form("what the page before named as `next`", "120"),
    r"[A-Za-z0-9_-]{1,128}": Form("letters, digits, _ and -", "ki_0a1b2c"),
    r"[A-Za-z0-9_.:-]{1,128}": Form("letters, digits, and any of _ . : -", "agent-1"),
    r"[1-9][0-9]{0,2}|1000": Form("a whole number from 1 to 1000", "100"),
    r"[0-9a-f]{32,64}": Form("32 to 64 hexadecimal digits", "0123456789abcdef0123456789abcdef"),
    r"[^/\x00-\x1f]{1,128}": Form("at most 128 characters, no slash or control character", "a"),
}
"""By the bare pattern, without what ties it to the ends of a text."""

_KINDS: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Form]], ...]] = (
    (
        re.compile(r"[\w-]+(?:\|[\w-]+)+"),
        lambda it: Form(f"one of {it[0].replace('|', ', ')}", it[0].partition("|")[0]),
    ),
    (
        re.compile(r"\[\^\\x00-\\x1f\]\{[01],(\d+)\}"),
        lambda it: Form(f"at most {it[1]} characters, none of them a control character", "a text"),
    ),
    (
        re.compile(r"\[[ !]-~\]\{[01],(\d+)\}"),
        lambda it: Form(f"at most {it[1]} printable characters of ASCII", "ann"),
    ),
    (
        re.compile(r"(?:\[1-9\])?\[0-9\](?:\{[01],(\d+)\}|\?)"),
        lambda _: Form("a whole number without a sign, within its limit", "12"),
    ),
)
_OPTIONAL: Final = re.compile(r"\(\?:(?P<inner>.*)\)\??")
_TIED: Final = re.compile(r"\^(?P<bare>.*)\$(?:\(\?!\\n\))?")
_SAID: Final = re.compile(r"Expected `str` matching regex (?P<pattern>'.*?'|\".*?\")(?= - at |$)")


def form_of(pattern: str) -> Form | None:
    """Return the form of a pattern in words, None for one that has none."""
    tied = _TIED.fullmatch(pattern)
    bare = tied["bare"] if tied else pattern
    inner = _OPTIONAL.fullmatch(bare)
    for one in (bare, inner["inner"] if inner else bare):
        if one in FORMS:
            return FORMS[one]
        for kind, make in _KINDS:
            if found := kind.fullmatch(one):
                return make(found)
    return None


def in_words(error: str) -> str:
    """Return an error of msgspec's with the form that is wanted in place of a pattern."""

    def said(found: re.Match[str]) -> str:
        form = form_of(str(ast.literal_eval(found["pattern"])))
        return found[0] if form is None else str(form)

    return _SAID.sub(said, error)
