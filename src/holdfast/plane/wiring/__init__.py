"""The only place that makes things: stores, clouds, actors and handlers meet here.

Nothing else imports `stores`. Each module makes one part and returns it; `plane.py` puts them
together and is what `serve` runs. This package must never decide anything about a domain.
"""
