"""Owners, operators, sessions, tokens, scopes and audit: plain tables, no actor.

Every actor has an owning account; what an account may not see is answered with 404.
No token or password is kept in a form that can be used again.
"""
