"""Where machines run: the cloud port, its adapters and its simulated twin.

The port fits local processes, containers and Fly Machines alike. Errors are typed (not found,
conflict, capacity, rate limited, transient), never a status number.
"""
