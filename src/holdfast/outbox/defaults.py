"""Defaults of an outbox; light enough to load with an import."""

from __future__ import annotations

from holdfast.outbox.receipts import OPEN


def always_open() -> str:
    """Allow everything."""
    return OPEN


def log_notice(text: str) -> None:
    """Write a warning to the logger `holdfast.outbox`."""
    import logging  # noqa: PLC0415  # seldom needed, and felt at import

    logging.getLogger("holdfast.outbox").warning(text)
