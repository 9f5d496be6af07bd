"""The whole fleet in virtual time: seeded, with faults.

The real plane code runs in one loop with fakes for cloud, clock, disk and network. Only tests and
`make sim` may import it.
"""
