"""Adapters for the ports the rooms below declare: memory, SQLite, DuckDB.

One folder an engine, each with its SQL in named queries and its migrations. Only
plane.wiring (and tests) may import this room.
"""
