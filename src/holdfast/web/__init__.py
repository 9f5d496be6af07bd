"""The dashboard: pages, live stream, templates and static files.

Server-rendered from views; view models are pure and testable without a browser.
It must never decide what a machine should do: it calls the same endpoints as a CLI.
"""
