from __future__ import annotations

import msgspec
import pytest

from holdfast.wire.api.endpoint import EnvName, Given, Id


@pytest.mark.parametrize("kind", [Id, Given, EnvName], ids=["id", "name", "variable"])
def test_a_name_is_matched_to_its_last_character(kind: object) -> None:
    assert msgspec.json.decode(b'"alpha"', type=kind) == "alpha"
    for text in (b'"alpha\\n"', b'"alpha\\n\\n"', b'"\\nalpha"', b'"alpha\\nbeta"', b'"alpha "'):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(text, type=kind)
