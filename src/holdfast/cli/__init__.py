"""The command line: one module a noun.

A client of the plane's endpoints wherever possible; every command has --json and exit codes for
scripts. It must never contain a rule that the plane lacks.
"""
