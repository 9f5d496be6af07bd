"""The agent's configuration: read, changed, and put back when it was a bad one.

One store (`store.py`) owns every change that the controller makes. Each text that was ever in
force is kept with a verdict: healthy, bad, or not known yet. A bad one is not taken again unless
somebody insists. Whoever supervises the agent decides what is healthy; the store only remembers.
Values of a configuration may be secrets: nothing here logs more than the paths of keys.
"""
