"""The HTTP edge: authenticate, limit, decode and dispatch by the endpoint table.

It must never know a domain word: handlers are given to it by `plane.wiring`.
"""
