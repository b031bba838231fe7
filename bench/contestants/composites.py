"""What the contestants for the composite share."""

TASK = "composite"
THREADS = 2
BLOCK = 1024
"""Edge of a block or chunk, pixels."""
