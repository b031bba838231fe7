"""Server processes: how they start, listen, tell how they are, and end."""
