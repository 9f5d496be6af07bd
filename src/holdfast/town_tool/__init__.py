"""The tools of a town's agents on their own path: `holdfast-tool`. Standard library only.

It runs beside any agent, in its confinement, and never imports the plane's side: what it sends is
compared with the endpoint table by a test.
"""
