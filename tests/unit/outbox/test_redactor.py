"""What is hidden, what is left alone, and that hiding twice changes nothing."""

from __future__ import annotations

import random
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.outbox.redactor import redact, redact_value

# Put together here, so that no scanner takes them for keys that leaked.
LETTERS = "a1B2c3D4e5F6g7H8i9J0" * 3
HIDDEN = [
    ("write to jo.doe+work@mail.example.org today", "write to [mail] today"),
    ("call +49 30 1234567 or (030) 123 4567", "call [phone] or [phone]"),
    ("555-123-4567, 0171/1234567", "[phone], [phone]"),
    ("card 4111 1111 1111 1111 and 5500-0000-0000-0004", "card [card] and [card]"),
    ("IBAN DE89 3704 0044 0532 0130 00.", "IBAN [iban]."),
    ("GB82WEST12345698765432", "[iban]"),
    ("from 10.1.2.3 and 2001:db8::8a2e:370:7334", "from [ip] and [ip]"),
    ("ssn 123-45-6789", "ssn [national id]"),
    ("https://bob:pa55@host/x", "https://[key]@host/x"),
    ("password: hunter22 and token='two words'", "password: [key] and token='[key]'"),
    ('{"api_key": "abc123def"}', '{"api_key": "[key]"}'),
    ("Authorization: Bearer abcdefgh1234", "Authorization: [key]"),
    ("sk-" + "ant-" + LETTERS, "[key]"),
    ("ghp_" + LETTERS, "[key]"),
    ("github_pat_" + LETTERS, "[key]"),
    ("glpat-" + LETTERS, "[key]"),
    ("xoxb-" + LETTERS, "[key]"),
    ("AKIA" + "IOSFODNN7EXAMPLE", "[key]"),
    ("AIza" + LETTERS[:35], "[key]"),
    ("eyJhbGciOiJI.eyJzdWIiOiIx.abc-_def", "[key]"),
    ("gk_live_" + LETTERS, "[key]"),
    ("hfm_" + LETTERS, "[key]"),
    ("bot 123456789:" + LETTERS, "bot [key]"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----", "[key]"),
    ("-----BEGIN PRIVATE KEY-----\ncut off", "[key]\ncut off"),
]
LEFT = [
    "2026-11-25 at 12:30:45, 1 000 000 or 12,345.67 or 1234567",
    "card 4111 1111 1111 1112 is none",
    "commit 0123456789abcdef0123456789abcdef01234567",
    "std::vector and a::b, 127.0.0.1, version 1.2.3",
    "GB82 WEST 1234 5698 7654 33 fails its check",
    "a token is a word; the password field; key: a",
    "order 12-34, pages 100-200, 3:2",
]


@pytest.mark.parametrize(("text", "want"), HIDDEN)
def test_what_is_private_is_hidden(text: str, want: str) -> None:
    assert redact(text) == want


@pytest.mark.parametrize("text", LEFT)
def test_what_is_not_is_left_alone(text: str) -> None:
    assert redact(text) == text


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([text for text, _ in HIDDEN] + LEFT + list("@:=+-. \n")), max_size=8)
)
def test_hiding_twice_changes_nothing(parts: list[str]) -> None:
    once = redact(" ".join(parts))
    assert redact(once) == once


def test_a_secret_anywhere_in_a_long_text_is_found() -> None:
    rng = random.Random(3)
    for text, want in HIDDEN:
        words = ["".join(rng.choices(string.ascii_lowercase, k=6)) for _ in range(800)]
        at = rng.randrange(800)
        hidden = redact(" ".join([*words[:at], text, *words[at:]]))
        assert hidden == " ".join([*words[:at], want, *words[at:]])


def test_values_are_searched_to_their_depth() -> None:
    found = redact_value({"a@b.org": ["x", {"y": "c@d.org"}, 4, None, True]})
    assert found == {"[mail]": ["x", {"y": "[mail]"}, 4, None, True]}
    with pytest.raises(ValueError, match="set has no form"):
        redact_value({"a": {1, 2}})
    deep: list[object] = []
    for _ in range(30):
        deep = [deep]
    with pytest.raises(ValueError, match="deeper"):
        redact_value(deep)


@pytest.mark.parametrize("name", ["password", "db_passwd", "apiKey", "X-Api-Key", "client_secret"])
def test_a_value_whose_name_says_that_it_is_a_secret_is_hidden(name: str) -> None:
    assert redact_value({"a": [{name: "hunter2-and-more"}]}) == {"a": [{name: "[key]"}]}
    assert redact_value({name: 7}) == {name: 7}


@pytest.mark.parametrize(
    "block",
    [
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\nlQ-OYBF\n-----END PGP PRIVATE KEY BLOCK-----",
        "-----BEGIN RSA PRIVATE KEY-----\nA: 4,B\n\nMIIE-IB\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nMIIEvgIBADANBgkqhkiG9w0BAQEF\nAASCBKgwggSkAgEA",
    ],
    ids=["pgp", "with headers", "without its end"],
)
def test_a_private_key_is_hidden_to_its_last_line(block: str) -> None:
    assert redact(f"before\n{block}") == "before\n[key]"
