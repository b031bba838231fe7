"""Results on tile grids: each tile is a run of its own, all of them are one result."""
