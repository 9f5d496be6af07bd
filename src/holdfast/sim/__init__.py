"""The whole fleet in virtual time: seeded, with faults.

The real plane code runs in one loop with fakes for cloud, clock, disk and network.
Nothing outside tests and `make sim` may import it.
"""
