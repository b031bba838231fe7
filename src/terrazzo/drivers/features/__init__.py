"""Features of collections of geometries, one by one: pages, single ones, and tiles of maps."""
