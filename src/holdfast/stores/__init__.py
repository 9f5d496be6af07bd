"""Adapters for the ports that other packages declare: memory, SQLite, DuckDB.

One folder per engine, each with its SQL in named queries and its migrations. Only
plane.wiring (and tests) may import this package.
"""
