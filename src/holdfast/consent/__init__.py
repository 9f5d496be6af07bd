"""A node's consent: which classes of content may leave it, since when, and who said so.

One actor per node (an instance's machine, or a machine elsewhere that registered), kind `node`.
Each decision is an event, gets numbered documents that the plane signs, and takes effect at once;
unknown, absent, malformed or expired is no. Content is never here: only who allowed which class.
"""
