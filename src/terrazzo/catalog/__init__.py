"""The catalogue: STAC collections and items, search, and the documents that fill them."""

from terrazzo.catalog.bands import BandInfo, band_document, read_bands
from terrazzo.catalog.filters import PropertyFilter
from terrazzo.catalog.refresh import refresh_collection
from terrazzo.catalog.search import Position, position
from terrazzo.catalog.stac import make_asset, make_collection, make_item
from terrazzo.catalog.store import Catalog
from terrazzo.errors import CatalogUnusable, ItemNotFound

__all__ = [
    "BandInfo",
    "Catalog",
    "CatalogUnusable",
    "ItemNotFound",
    "Position",
    "PropertyFilter",
    "band_document",
    "make_asset",
    "make_collection",
    "make_item",
    "position",
    "read_bands",
    "refresh_collection",
]
