"""What the controller reports to the plane, when, and the directives that come back."""
