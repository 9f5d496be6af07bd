"""Configurations as values: parsing, identity, merging; and the ledger of versions."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.machine.controller.config import history as book
from holdfast.machine.controller.config.document import (
    VERDICTS_KEPT,
    VERSIONS_KEPT,
    DocumentError,
    compose,
    content_of,
    key_paths,
    matches,
    merge,
    parse,
)
from holdfast.machine.controller.config.history import Ledger, Verdict, Version

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(max_size=3), JSON, max_size=4)


def test_json5_is_read_and_told_apart_from_json() -> None:
    found = parse(b"{ // a comment\n a: 'x', list: [1, 2,], }")
    assert (found.config, found.plain) == ({"a": "x", "list": [1, 2]}, False)
    assert parse(b'{"a": 1}').plain


@pytest.mark.parametrize(
    ("raw", "because"),
    [
        (b"", "neither JSON nor JSON5"),
        (b'{"secret": "hunter2"', "neither JSON nor JSON5"),
        (b"[1]", "not an object"),
        (b"\xff", "not UTF-8"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "nested"),
        (b"[" * 200_000, "nested"),
    ],
)
def test_what_is_no_configuration_says_why_and_quotes_nothing(raw: bytes, because: str) -> None:
    with pytest.raises(DocumentError, match=because) as caught:
        parse(raw)
    assert "hunter2" not in str(caught.value)


@given(OBJECTS)
def test_what_is_composed_reads_as_itself(config: dict[str, Any]) -> None:
    found = parse(compose(config).raw)
    assert (found.config, found.plain) == (config, True)


def test_a_nan_cannot_be_written() -> None:
    with pytest.raises(DocumentError, match="JSON cannot say"):
        compose({"a": float("nan")})


def test_an_etag_names_the_bytes_and_the_content_what_they_say() -> None:
    one, other = parse(b'{"a":1,"b":2}'), parse(b"{b: 2, a: 1}")
    assert one.etag != other.etag
    assert one.content == other.content == content_of({"b": 2, "a": 1})
    assert one.content != parse(b'{"a":1,"b":3}').content


def test_an_etag_is_taken_in_our_form_and_in_the_contracts() -> None:
    raw = b"{}"
    ours, md5 = hashlib.sha256(raw).hexdigest(), hashlib.md5(raw).hexdigest()
    assert all(matches(given, raw) for given in (ours, f'"{ours}"', ours.upper(), md5, f'"{md5}"'))
    assert not any(matches(given, raw) for given in ("", '""', "*", ours[:-1], md5[:-1] + "0"))


def reference_merge(target: Any, patch: Any) -> Any:
    """The pseudo-code of RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = reference_merge(result.get(name), value)
    return result


@given(OBJECTS, OBJECTS)
def test_a_patch_is_merged_as_the_rfc_says(config: dict[str, Any], patch: dict[str, Any]) -> None:
    before = json.dumps(config)
    assert merge(config, patch) == reference_merge(config, patch)
    assert json.dumps(config) == before


@pytest.mark.parametrize("key", ["__proto__", "prototype", "constructor"])
def test_machinery_of_javascript_is_left_out_at_any_depth(key: str) -> None:
    assert merge({"a": {"b": 1}}, {key: {"x": 1}, "a": {key: 2, "c": 3}}) == {"a": {"b": 1, "c": 3}}


def test_key_paths_have_no_values_and_an_end() -> None:
    assert key_paths({"a": {"b": "hunter2", "c": None}, "d": [1]}) == ("a.b", "a.c", "d")
    assert len(key_paths({str(n): n for n in range(1_000)})) == 32


def version(number: int) -> Version:
    return Version(etag=f"{number:064x}", content=f"c{number}", at_ms=number, origin="patch")


def test_the_last_healthy_version_outlives_all_that_came_after() -> None:
    ledger = book.judge(book.note(Ledger(), version(0)), "c0", Verdict(healthy=True, at_ms=1))
    for number in range(1, VERSIONS_KEPT + 5):
        ledger = book.note(ledger, version(number))
        ledger = book.judge(ledger, f"c{number}", Verdict(healthy=False, at_ms=2, reason="no"))
    assert book.last_healthy(ledger) == version(0)
    assert len(ledger.versions) == VERSIONS_KEPT + 1


def test_a_version_that_comes_back_is_the_latest_again() -> None:
    ledger = Ledger()
    for number in (1, 2, 1):
        ledger = book.note(ledger, version(number))
    assert ledger.versions == (version(2), version(1))


def test_verdicts_have_an_end_and_those_of_kept_versions_stay() -> None:
    ledger = book.judge(book.note(Ledger(), version(0)), "c0", Verdict(healthy=True, at_ms=1))
    for number in range(VERDICTS_KEPT + 10):
        ledger = book.judge(ledger, f"x{number}", Verdict(healthy=False, at_ms=2))
    assert len(ledger.verdicts) == VERDICTS_KEPT
    assert book.verdict_on(ledger, "c0") is not None
    assert book.verdict_on(ledger, "x0") is None


def test_a_version_is_found_by_how_it_begins_when_that_is_one() -> None:
    ledger = book.note(book.note(Ledger(), version(0x10)), version(0x11))
    assert book.find(ledger, f"{0x10:064x}") == version(0x10)
    assert book.find(ledger, "0" * 60) is None
    assert book.find(ledger, "f") is None
