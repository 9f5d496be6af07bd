"""The command line: one module a noun.

A client of the plane's endpoints wherever it can be; every command has --json and
exit codes a script can rely on. It must never hold a rule the plane does not know.
"""
