"""URLs for the HTTP client library, built from checked parts, never by joining text."""

from __future__ import annotations

from yarl import URL

from holdfast.wire.address import Address, Place, origin_form


def http_url(address: Address, target: str, *, scheme: str = "http") -> URL:
    """Return the URL of a path, with its query if any, at exactly this address.

    Raise ValueError for a target that is no path.
    """
    path, _, query = origin_form(target).partition("?")
    return URL.build(
        scheme=scheme, host=address.host, port=address.port, path=path, query_string=query,
        encoded=True,
    )  # fmt: skip


def whole_url(url: str) -> URL:
    """Return a URL from the settings, by its checked parts; raise ValueError if it is none."""
    place = Place.parse(url)
    return http_url(place.address, place.target, scheme=place.scheme)
