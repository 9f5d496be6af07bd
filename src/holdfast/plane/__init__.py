"""The server: settings, edge, agent proxy, wiring and serve.

plane.wiring is the only package that imports stores and constructs the parts. The real clock,
randomness and environment enter the program here and in few other files.
"""
