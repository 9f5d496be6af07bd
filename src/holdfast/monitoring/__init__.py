"""Prometheus metrics and structured logs.

Metrics are declared in kernel/metrics.py. No label holds an id of unbounded number, and no log line
holds a secret.
"""
