"""What runs the checks: on which Python, on which build of the package, and two at a time."""
