"""What the plane and a controller say to each other: check-in, directive, pairing, calls.

Pure. The controller answers with these structs and the plane reads the same ones.
"""
