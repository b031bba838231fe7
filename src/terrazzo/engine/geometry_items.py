"""Which items hold geometries: asked before Arrow is loaded, which starts a thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from terrazzo.catalog.tables import table_asset
from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


def of_geometries(items: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether items hold geometries.

    Raises:
        ArgumentInvalid: some do, and some hold images.
    """
    tables = [item for item in items if table_asset(item) is not None]
    if tables and len(tables) < len(items):
        raise _mixed(tables[0], next(item for item in items if table_asset(item) is None))
    return bool(tables)


def only_images(items: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield items, the first of which holds images.

    Raises:
        ArgumentInvalid: one holds geometries.
    """
    first: Mapping[str, Any] = {}
    for item in items:
        first = first or item
        if table_asset(item) is not None:
            raise _mixed(item, first)
        yield item


def _mixed(table: Mapping[str, Any], image: Mapping[str, Any]) -> ArgumentInvalid:
    return ArgumentInvalid(
        f"Item {str(table['id'])[:80]!r} holds geometries and item {str(image['id'])[:80]!r} "
        "images. Choose one kind by conditions in `properties`, for example on `table:row_count`."
    )
