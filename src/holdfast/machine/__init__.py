"""Runs beside the agent, inside its machine.

Must not import plane code, which is not installed in machines.
"""
