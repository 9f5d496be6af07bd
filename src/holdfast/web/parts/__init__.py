"""Parts of pages: what several pages show, and panels that are long; with the words for states.

From the answers of the API to what a template prints: a template decides nothing; what can be
wrong is decided here, where a test needs no browser.
"""
