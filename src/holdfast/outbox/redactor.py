"""Redacts what must not be stored: people's addresses and numbers, keys and tokens.

Run over every text before anything is stored or sent. Each find becomes a mark of its kind, and
marks are never matched again. It errs towards hiding; it cannot detect every secret, so do not rely
on it alone. Its work is linear in the length of the text. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

MAIL: Final = "[mail]"
PHONE: Final = "[phone]"
KEY: Final = "[key]"
CARD: Final = "[card]"
IBAN: Final = "[iban]"
ADDRESS: Final = "[ip]"
NATIONAL_ID: Final = "[national id]"

_CARD_DIGITS: Final = range(13, 20)
_PHONE_DIGITS: Final = range(7, 16)
_DEPTH_MAX: Final = 20
_INTEGER_BITS_MAX: Final = 10_000
"""Some 3,000 digits: of more than 4,300 Python makes no text."""
_LOOPBACK: Final = ("127.0.0.1", "0.0.0.0")  # noqa: S104  # spared, not bound to

# Prefixes of keys, by issuer; the rest is at least as long as the issuer's keys are.
_KEYS: Final = (
    r"sk-[\w-]{16,}",  # OpenAI, Anthropic, OpenRouter
    r"[rsp]k_(?:live|test)_\w{10,}",  # Stripe
    r"whsec_\w{16,}",
    r"gh[oprsu]_\w{20,}",
    r"github_pat_\w{20,}",
    r"glpat-[\w-]{16,}",
    r"xox[abeprs]-[\w-]{10,}",  # Slack
    r"xapp-[\w-]{10,}",
    r"A(?:KIA|SIA)[0-9A-Z]{16}\b",  # Amazon
    r"AIza[\w-]{30,}",  # Google
    r"ya29\.[\w.-]{20,}",
    r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*",  # a signed token (JWT)
    r"hf[a-z]?_[\w-]{12,}",  # Hugging Face, and ours
    r"npm_\w{30,}",
    r"pypi-[\w-]{30,}",
    r"SG\.[\w-]{16,}\.[\w-]{16,}",
    r"do[op]_v1_\w{30,}",
    r"(?:gd|gk|gdk)_(?:live_|test_)?\w{12,}",
    r"AGE-SECRET-KEY-\w{20,}",
    r"[Bb]earer\s+[\w.~+/=-]{8,}",
    r"\d{6,12}:[\w-]{30,}",  # Telegram
)
_KEY_NAME: Final = r"[A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
# Without its end (a hunk, a text that was cut) what looks like its lines counts as the key.
_PRIVATE_KEY: Final = (
    rf"-----BEGIN {_KEY_NAME}"
    rf"(?:(?:(?!-----)[\s\S]){{0,20000}}-----END {_KEY_NAME}"
    r"|(?:\s{1,4}(?:[\w-]{1,40}: [^\n]{0,200}|[A-Za-z0-9+/=]{16,200})){0,400})"
)
_NAMED: Final = (  # names of secrets
    r"(?:pass(?:word|phrase|wd)|pwd|secret|token|(?:api|access|private)[_-]?key)"
)
_ASSIGNED: Final = (
    rf"(?P<name>{_NAMED}"
    r"[\w-]{0,32}[\"']?\s{0,8}[=:]\s{0,8})"
    r"(?:(?P<quote>[\"'])[^\"'\n]{4,512}|[^\s\"',;&<>\[\]]{4,})"
)
_IN_URL: Final = r"(?P<scheme>\w{1,16}://)[^\s/@:]{1,128}:[^\s/@]{1,256}@"
_MAIL: Final = r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"
_IBAN: Final = r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b"
_IPV4: Final = r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\d)"
_IPV6: Final = r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])"
_NATIONAL: Final = r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])"
_NUMBER: Final = r"(?<![\w.,+])(?:\+|\(|\b)[\d(][\d ()./-]{5,28}\d(?!\w)(?![.,]\d)"
# The form of a telephone number, as opposed to a date, a price or an amount.
_PHONE: Final = re.compile(
    r"\+\d[\d ()./-]+"
    r"|\(0?\d{2,5}\)[ ./-]?\d[\d ./-]{3,}"
    r"|0\d{1,5}[ /-]\d[\d /-]{3,}"
    r"|00\d{8,13}"
    r"|\d{3}[ .-]\d{3}[ .-]\d{4}"
)


@cache
def _pattern(text: str, flags: int = 0) -> re.Pattern[str]:
    """Compile on first use: that takes longer than importing the whole SDK."""
    return re.compile(text, flags)


def valid(text: str) -> str:
    """Return the text as it can be stored and sent: half a surrogate pair becomes "?", NUL U+FFFD.

    Such a half has no form in UTF-8, and one byte 0 separates the two texts of a correction in the
    hash that identifies it.
    """
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    return text.replace("\0", "\ufffd")


def redact(text: str) -> str:
    """Return the text, made valid, with everything that was found replaced by a mark."""
    text = valid(text)
    if "://" in text and "@" in text:
        text = _pattern(_IN_URL).sub(rf"\g<scheme>{KEY}@", text)
    if "-----BEGIN" in text:
        text = _pattern(_PRIVATE_KEY).sub(KEY, text)
    if _pattern(r"[=:]").search(text):
        text = _pattern(_ASSIGNED, re.IGNORECASE).sub(_assigned, text)
    if _pattern(r"[_:.-]\w|AKIA|ASIA|AIza|earer").search(text):
        text = _pattern(r"(?<![\w-])(?:" + "|".join(_KEYS) + ")").sub(KEY, text)
    if "@" in text:
        text = _pattern(_MAIL).sub(MAIL, text)
    if text.count(":") > 1:
        text = _pattern(_IPV6).sub(_address6, text)
    # Most texts hold no long number; the searches below are skipped for them.
    if _pattern(r"\d\D?\d").search(text):
        text = _numbers(text)
    return text


def _numbers(text: str) -> str:
    if _pattern(r"[A-Z]{2}\d{2}").search(text):
        text = _pattern(_IBAN).sub(_iban, text)
    if text.count(".") > 2:  # noqa: PLR2004  # an address has three
        text = _pattern(_IPV4).sub(_address4, text)
    text = _pattern(_NATIONAL).sub(NATIONAL_ID, text)
    return _pattern(_NUMBER).sub(_number, text)


def redact_value(value: Any, depth: int = 0) -> Any:
    """Return a JSON value with every text in it redacted, keys of objects too.

    Keys that become alike get a number behind them. Raise ValueError if it is nested deeper than
    20, or JSON cannot represent it.
    """
    if depth > _DEPTH_MAX:
        raise ValueError(f"nested deeper than {_DEPTH_MAX}")
    if isinstance(value, str):
        return redact(value)
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        if value.bit_length() > _INTEGER_BITS_MAX:
            raise ValueError(
                f"an integer of {value.bit_length()} bits, at most {_INTEGER_BITS_MAX}"
            )
        return value
    if isinstance(value, Mapping):
        return _redacted_map(value, depth)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [redact_value(held, depth + 1) for held in value]
    raise ValueError(f"{type(value).__name__} has no form in JSON")


def _redacted_map(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, held in value.items():
        try:
            plain = valid(str(key))
        except Exception as error:
            raise ValueError(f"a key of type {type(key).__name__} has no text: {error}") from error
        base = name = redact(plain)
        count = 1
        while name in found:
            count += 1
            name = f"{base} ({count})"
        found[name] = _held(plain, held, depth)
    return found


def _held(name: str, value: Any, depth: int) -> Any:
    """Return a value redacted, entirely if its name is that of a secret."""
    if isinstance(value, str) and value and _pattern(_NAMED, re.IGNORECASE).search(name):
        return KEY
    return redact_value(value, depth + 1)


def _assigned(found: re.Match[str]) -> str:
    return f"{found['name']}{found['quote'] or ''}{KEY}"


def _number(found: re.Match[str]) -> str:
    text = found[0]
    digits = [int(letter) for letter in text if letter.isdigit()]
    if len(digits) in _CARD_DIGITS and "/" not in text and _luhn(digits):
        return CARD
    if len(digits) in _PHONE_DIGITS and _PHONE.fullmatch(text):
        return PHONE
    return text


def _luhn(digits: Sequence[int]) -> bool:
    """Return whether the last digit is the Luhn checksum, as on payment cards."""
    doubled = [sum(divmod(digit * 2, 10)) for digit in digits[-2::-2]]
    return any(digits) and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _iban(found: re.Match[str]) -> str:
    letters = found[0].replace(" ", "")
    turned = letters[4:] + letters[:4]
    rest = int("".join(str(int(letter, 36)) for letter in turned)) % 97
    return IBAN if rest == 1 else found[0]


def _address4(found: re.Match[str]) -> str:
    parts = found[0].split(".")
    if found[0] in _LOOPBACK or any(int(part) > 255 for part in parts):  # noqa: PLR2004  # a byte
        return found[0]
    return ADDRESS


def _address6(found: re.Match[str]) -> str:
    groups = found[0].split(":")
    filled = [group for group in groups if group]
    # A time of day has two colons and only digits; an address has eight groups, or a gap.
    whole = len(groups) == 8 or "::" in found[0]  # noqa: PLR2004  # the groups of an address
    if len(filled) < 2 or not whole or not any(map(str.isdigit, found[0])):  # noqa: PLR2004
        return found[0]
    return ADDRESS
