"""The typed metric catalogue, logs and traces; dashboards and alert rules as code.

Everything measured is named once, in the catalogue. A label never holds an id of
unbounded number, and a log line never holds a secret.
"""
