"""The catalogue: STAC collections and items, search, and the documents that fill them."""

from terrazzo.catalog.bands import BandInfo, band_document, read_bands
from terrazzo.catalog.cql2 import Filter
from terrazzo.catalog.filters import PropertyFilter
from terrazzo.catalog.interface import Asked, Catalog
from terrazzo.catalog.opening import open_catalog
from terrazzo.catalog.order import Position, Sort, position
from terrazzo.catalog.stac import make_asset, make_collection, make_item
from terrazzo.catalog.stored import StoredItem
from terrazzo.catalog.survey import Survey
from terrazzo.errors import CatalogUnusable, ItemNotFound

__all__ = [
    "Asked",
    "BandInfo",
    "Catalog",
    "CatalogUnusable",
    "Filter",
    "ItemNotFound",
    "Position",
    "PropertyFilter",
    "Sort",
    "StoredItem",
    "Survey",
    "band_document",
    "make_asset",
    "make_collection",
    "make_item",
    "open_catalog",
    "position",
    "read_bands",
]
