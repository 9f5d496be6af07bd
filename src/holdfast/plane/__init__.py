"""The server: settings, build, edge, directive and serve.

plane.wiring is the only place that makes things and imports stores. Here, and in
few other files, the real clock, chance and environment enter the program.
"""
