"""OGC API Features and Tiles of collections of geometries, feature by feature."""
