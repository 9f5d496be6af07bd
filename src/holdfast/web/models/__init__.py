"""View models: from the answers of the API to what a template prints. Pure.

A template decides nothing; what can be wrong is decided here, where a test needs no browser.
They must never ask anybody anything: they are given answers and the time.
"""
