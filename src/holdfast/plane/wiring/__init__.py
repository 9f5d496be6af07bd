"""Dependency injection: the only package that constructs stores, clouds, actors and handlers.

Nothing else imports `stores`. Each module makes one part and returns it; `plane.py` joins them for
`serve`. There is no domain logic here.
"""
