"""Reads what agents write: transcripts, logs, memory, cron, indexes of sessions.

Files are opened to read, never locked, never followed over a link, and read in blocks. A reader
returns what comes after a cursor; it must never move one, send anything, or open a connection.
"""
