"""Adapters for the ports the rooms below declare: memory, SQLite, DuckDB.

SQL lives in named queries under sql/, migrations under migrations/. Only
plane.build (and tests) may import this room.
"""
