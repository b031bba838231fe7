"""How many items a search finds in all: told where it costs next to nothing, or is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from terrazzo.server.web.faults import SearchTooLong
from terrazzo.server.web.patience import Patience

if TYPE_CHECKING:
    from terrazzo.catalog import Asked, Catalog
    from terrazzo.server.stac.query import StacQuery

SECONDS = 2.0
"""How long items are counted; what takes longer is asked for at /aggregate."""


def number_matched(catalog: Catalog, query: StacQuery, found: int, *, more: bool) -> int | None:
    """Return how many items a search finds on all its pages, or None.

    A page that holds them all has been counted. A first page of one item is how clients ask.

    Args:
        catalog: that was searched.
        query: the search.
        found: items of this page.
        more: whether there is another page.
    """
    if query.token:
        return None
    if not more:
        return found
    if query.limit > 1:
        return None
    known = catalog.known_count(query.collections, **query.asked)
    if known is not None:
        return known
    asked: Asked = {**query.asked, "check": Patience(SECONDS)}
    items = catalog.facts(query.collections, **asked)
    try:
        return sum(1 for _ in items)
    except SearchTooLong:
        return None
