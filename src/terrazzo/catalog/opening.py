"""Opens a catalogue by its address, whatever keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from terrazzo.catalog.store import FileCatalog
from terrazzo.errors import CatalogUnusable

if TYPE_CHECKING:
    from terrazzo.catalog.interface import Catalog
    from terrazzo.progress import Progress

_SCHEMES = ("postgresql://", "postgres://")


def is_database(address: Path | str) -> bool:
    """Tell whether an address is that of a database and not of a file."""
    return isinstance(address, str) and address.startswith(_SCHEMES)


def open_catalog(
    address: Path | str,
    *,
    read_only: bool = False,
    hidden: frozenset[str] = frozenset(),
    progress: Progress | None = None,
) -> Catalog:
    """Open the catalogue in a file or a database; without `read_only` a missing file is made.

    Args:
        address: path of the file, or `postgresql://USER:PASSWORD@HOST/NAME` of a database with
            pgSTAC.
        read_only: whether nothing may be changed.
        hidden: collections that do not exist for whoever uses this object.
        progress: is told of the items where a file of an earlier version is brought up to date.

    Raises:
        CatalogUnusable: it is no catalogue, is of a later Terrazzo, or cannot be opened.
    """
    if not is_database(address):
        return FileCatalog(Path(address), read_only=read_only, hidden=hidden, progress=progress)
    try:
        from terrazzo.catalog.pgstac import PgstacCatalog  # noqa: PLC0415 - needs its own libraries
    except ImportError as problem:
        if problem.name not in {"psycopg", "psycopg_pool"}:
            raise
        raise CatalogUnusable(
            "A catalogue in PostgreSQL needs psycopg, which is not installed. Install it with "
            "`pip install 'terrazzo[postgresql]'`."
        ) from problem
    return PgstacCatalog(str(address), read_only=read_only, hidden=hidden)
