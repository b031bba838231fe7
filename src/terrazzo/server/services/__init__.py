"""Secondary web services: graphs that are shown as tiles."""
