"""Terrazzo, an open Earth-observation data platform.

One lazy processing graph gives the same answer on a map tile, over a million parcels and
across a continent. Importing the package loads none of the libraries below it.
"""

__version__ = "0.1.0"
