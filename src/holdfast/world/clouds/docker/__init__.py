"""The container cloud: machines as containers of Docker or Podman, over the Docker Engine API.

A container is replaced at will; what an agent keeps is in its volume. The engine's own labels are
the record of what there is, so that nothing has to agree with them. docs/docker-cloud.md describes
what is enforced and what is not.
"""
