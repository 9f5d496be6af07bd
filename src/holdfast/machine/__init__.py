"""What runs beside the agent, inside its machine.

It must never import the plane's side: it is installed where the plane is not.
"""
