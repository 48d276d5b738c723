"""Pages and pictures that the service shows."""
