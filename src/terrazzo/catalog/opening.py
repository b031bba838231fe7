"""Opening a catalogue by its address, whatever keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from terrazzo.catalog.store import FileCatalog

if TYPE_CHECKING:
    from terrazzo.catalog.interface import Catalog


def open_catalog(
    address: Path | str, *, read_only: bool = False, hidden: frozenset[str] = frozenset()
) -> Catalog:
    """Open the catalogue in a file; without `read_only` a missing file is made.

    Args:
        address: path of the file.
        read_only: whether nothing may be changed.
        hidden: collections that do not exist for whoever uses this object.

    Raises:
        CatalogUnusable: it is no catalogue, is of a later Terrazzo, or cannot be opened.
    """
    return FileCatalog(Path(address), read_only=read_only, hidden=hidden)
