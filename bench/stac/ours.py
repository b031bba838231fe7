"""Our side, in processes of its own: `python -m bench.stac.ours ADDRESS FILE|COUNT SEED`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.stac.items import collections, made_items, read_lines
from terrazzo.catalog import open_catalog

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


def put(address: str | Path, items: Iterable[Mapping[str, Any]]) -> None:
    """Put items into a catalogue, and their collections first if they are missing."""
    with open_catalog(address) as catalog:
        known = {document["id"] for document in catalog.collections()}
        for document in collections():
            if document["id"] not in known:
                catalog.put_collection(document)
        catalog.put_items(items)


def main(address: str, *source: str) -> None:
    """Put the items of a file, or as many as are wanted of a seed."""
    if len(source) == 1:
        put(address, read_lines(Path(source[0])))
    else:
        put(address, made_items(*map(int, source)))


if __name__ == "__main__":
    main(*sys.argv[1:])
