"""DuckDB: the analytics stores of check-ins and of ticks, with their SQL and migrations."""

from pathlib import Path
from typing import Final

SQL: Final = Path(__file__).parent / "sql"
"""Named queries, a folder a database."""

MIGRATIONS: Final = Path(__file__).parent / "migrations"
"""Numbered files, a folder a database."""
