"""The rules of a town, a file per group, in the order of `reconcile.py`."""
