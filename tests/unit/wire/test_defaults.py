"""What a field that a message leaves out is read as: older senders leave out newer fields.

A default is part of the wire format. One that changes alters what is read from controllers, brains
and programs that were installed before, so each is written down here once more.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import msgspec
import pytest
from msgspec import Struct

import holdfast.wire
from tests.support.declared_defaults import declared, structs, written

# An absent field is one of which the reader can tell that it was left out.
DEFAULTS = Path(__file__).with_name("defaults.txt").read_text()
MODULES = [
    importlib.import_module(module.name)
    for module in pkgutil.walk_packages(holdfast.wire.__path__, "holdfast.wire.")
]
FOUND, WRITTEN = declared(MODULES), written(DEFAULTS)
EMPTY = [
    kind
    for _, kind in structs(MODULES)
    if not any(field.required for field in msgspec.structs.fields(kind))
]


def test_each_message_with_defaults_is_listed() -> None:
    assert sorted(FOUND) == sorted(WRITTEN)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_field_that_is_left_out_is_read_as_before(name: str) -> None:
    assert FOUND[name] == WRITTEN[name]


@pytest.mark.parametrize("kind", EMPTY, ids=lambda kind: kind.__name__)
def test_an_empty_message_is_read_as_the_defaults(kind: type[Struct]) -> None:
    assert msgspec.json.decode(b"{}", type=kind) == kind()
