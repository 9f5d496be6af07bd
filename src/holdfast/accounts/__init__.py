"""Owners, operators, sessions, tokens, scopes and audit: plain tables, no actor.

Every actor has an owning account; what an account may not see does not exist for it.
It must never keep a token or password in a form that can be used again.
"""
