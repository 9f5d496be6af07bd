"""The agent's configuration: read, changed, and rolled back when it was bad.

One store (`store.py`) makes every change by the controller. Each text that was ever in force is
kept with a verdict: healthy, bad, or unknown. A bad one is refused unless forced. The supervising
part decides what is healthy; the store only records it. Values of a configuration may be secrets:
only paths of keys are logged.
"""
