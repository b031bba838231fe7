"""The drivers: one plan as map tiles, as a batch of blocks, and reduced over polygons."""
