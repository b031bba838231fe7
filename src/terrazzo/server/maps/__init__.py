"""Graphs as maps: how they are shown, tiles, what is kept of them."""
