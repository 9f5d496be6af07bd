"""The pages: each file is one subject's, with its queries, its model and its live behaviour.

A page never imports another; what several show is in `parts`.
"""
