"""Backups: the archive, its manifest, and the note that a restore leaves for the next start.

What copies and replaces stores is in `plane/wiring`; nothing here opens one.
"""
