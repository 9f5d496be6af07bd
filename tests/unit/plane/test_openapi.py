from __future__ import annotations

import msgspec

from holdfast.plane.openapi import document, page
from holdfast.wire.api.table import ENDPOINTS

DOCUMENT = document(ENDPOINTS, version="0.1.0")


def test_every_row_is_described_once() -> None:
    described = {
        (method.upper(), path): operation["operationId"]
        for path, operations in DOCUMENT["paths"].items()
        for method, operation in operations.items()
    }
    assert described == {(row.method, row.path): row.name for row in ENDPOINTS}


def test_every_reference_leads_somewhere() -> None:
    text = msgspec.json.encode(DOCUMENT).decode()
    schemas = DOCUMENT["components"]["schemas"]
    referred = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert referred <= set(schemas)
    assert "InstanceView" in referred
    assert "Problem" in referred


def test_whatever_is_not_public_says_how_to_prove_oneself() -> None:
    for row in ENDPOINTS:
        security = DOCUMENT["paths"][row.path][row.method.lower()]["security"]
        assert bool(security) == (row.scope != "public"), row.name


def test_pages_escape_what_the_table_says() -> None:
    html = page(ENDPOINTS, version="<b>").decode()
    assert "&lt;b&gt;" in html
    assert "<script" not in html
    assert all(f'id="{row.name}"' in html for row in ENDPOINTS)
