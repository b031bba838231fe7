"""Grids, windows, coordinate systems, times and polygon coverage: no pixels, no I/O."""
