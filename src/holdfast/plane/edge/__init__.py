"""The HTTP edge: authenticate, limit, decode and dispatch by the endpoint table.

It contains no domain term: handlers are passed in by `plane.wiring`.
"""
