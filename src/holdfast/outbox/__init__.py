"""The sender's durable queue: policy, queue and drain.

Whatever leaves a machine goes through it. Standard library only, because it runs
inside other people's programs. It must never block its caller or lose silently.
"""
