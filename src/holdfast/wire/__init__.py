"""What crosses the network: message types with limits, versions N and N-1.

Pure. Both ends of a connection read the same types, so a field cannot mean two
things. It must never hold a handler, open a socket or know who is calling.
"""
