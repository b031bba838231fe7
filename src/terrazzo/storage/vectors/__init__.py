"""Geometries on disk."""
