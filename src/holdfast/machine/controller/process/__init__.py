"""Processes and files of the machine: children, orphans, commands, locks, /proc, atomic writes."""
