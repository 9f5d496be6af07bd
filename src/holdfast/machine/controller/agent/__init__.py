"""The supervised agent: its processes, runtime, recovery, installation, version and keys."""
