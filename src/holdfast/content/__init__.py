"""What observers send: signs of life, and content that a node's owner has consented to.

A stream with its own file and writer, so that megabytes never wait before the journal. Content is
stored through one gate, which asks the node's consent at the moment of the write; of what is
refused, only counts are kept. Nothing of a body is ever logged.
"""
