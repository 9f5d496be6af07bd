"""Prometheus metrics and structured logs.

Metrics are declared in kernel/metrics.py. `grafana/` (written by tools/boards.py), `prometheus/`
and `clickhouse/` are files for those programs. No label holds an id of unbounded number, and no log
line holds a secret.
"""
