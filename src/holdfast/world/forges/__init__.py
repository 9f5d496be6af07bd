"""Forges: where the branches of a rig are cloned, checked, merged and reviewed.

The port fits git alone and GitHub. Nothing of a repository that others write is ever run
unconfined, and no credential leaves for another place than the repository that it is for.
"""
