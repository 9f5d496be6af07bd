"""The dashboard: pages, live stream, templates and static files.

A page is one file of `pages` and its template; models are testable without a browser. It must
never decide what a machine should do: it calls the same endpoints as a command line.
"""
