"""Which items hold geometries: asked before Arrow is loaded, which starts a thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from terrazzo.catalog.tables import table_asset
from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def of_geometries(items: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether items hold geometries.

    Raises:
        ArgumentInvalid: some do, and some hold images.
    """
    tables = [item for item in items if table_asset(item) is not None]
    if tables and len(tables) < len(items):
        other = next(item for item in items if table_asset(item) is None)
        raise ArgumentInvalid(
            f"Item {str(tables[0]['id'])[:80]!r} holds geometries and item "
            f"{str(other['id'])[:80]!r} images. Choose one kind by conditions in `properties`, "
            "for example on `table:row_count`."
        )
    return bool(tables)
