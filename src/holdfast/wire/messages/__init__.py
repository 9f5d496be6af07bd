"""Requests and answers of the plane's own endpoints, one file per noun.

Every field has a limit, so that a message has a greatest size and a bad one is refused with the
name of its field. Names are snake_case in JSON too; times are ISO 8601 in UTC, because people and
scripts read them. No answer ever carries a secret that was stored.
"""
