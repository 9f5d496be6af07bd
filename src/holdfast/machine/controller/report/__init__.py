"""Reports of the controller to the plane, their schedule, and the directives in the answers."""
