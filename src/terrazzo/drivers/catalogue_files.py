"""Catalogues as files: a collection's items as stac-geoparquet or lines of JSON, and back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from terrazzo.catalog import make_collection
from terrazzo.drivers.catalogue_inventory import INVENTORIES, write_inventory
from terrazzo.drivers.catalogue_parquet import (
    count_items,
    read_collections,
    read_items,
    write_items,
)
from terrazzo.errors import (
    ArgumentInvalid,
    CollectionNotFound,
    FormatUnsupported,
    SourceUnreadable,
)
from terrazzo.progress import Progress
from terrazzo.storage.writers.files import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from terrazzo.catalog import Catalog

__all__ = ["Exported", "Imported", "export_collection", "export_inventory", "import_items"]

PARQUET: Final = (".parquet", ".geoparquet")
LINES: Final = (".ndjson", ".jsonl")
_BATCH: Final = 500
_LONGEST_LINE: Final = 64_000_000


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was written."""

    path: Path
    """Where it is."""
    rows: int
    """Items, or files in an inventory."""
    bytes: int
    """Its size."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of the items of files."""

    collections: tuple[str, ...]
    """Ids of the collections that the items are in."""
    made: int
    """Items that are new or changed."""
    kept: int
    """Items that were there already, the same."""
    failed: Mapping[str, str]
    """What was left out, and why."""


def export_collection(
    catalog: Catalog, collection: str, path: Path, *, progress: Progress | None = None
) -> Exported:
    """Write a collection as one file, whole or not at all.

    Args:
        catalog: where it is.
        collection: its id.
        path: ends in .parquet (stac-geoparquet, sorted in time and space, for DuckDB and the
            like) or .ndjson (the collection's document, then its items, a line each, exactly as
            they are); replaced if there.
        progress: counts items: read and written for Parquet, written for lines.

    Raises:
        CollectionNotFound: lists the collections that there are.
        FormatUnsupported: another suffix.
        FormatUnsuitable: the items have too many different members for a table.
        OutputFailed: the disk is full or the folder cannot be written; nothing is left behind.
        Cancelled: raised by `progress`; nothing is left behind.
    """
    suffix, shown = path.suffix.lower(), progress or Progress()
    if suffix not in PARQUET + LINES:
        raise FormatUnsupported(
            f"A catalogue is exported to files that end in {' '.join(PARQUET + LINES)}, not "
            f"{suffix!r}."
        )
    document, total = catalog.collection(collection), catalog.count(collection)
    items = catalog.stored((collection,))
    with shown, whole_file(path) as part:
        if suffix in PARQUET:
            shown.start(2 * total, "items")
            rows = write_items(part, items, {collection: document}, progress=shown)
        else:
            shown.start(total, "items")
            rows = 0
            with part.open("wb") as file:
                file.write(json.dumps(document, ensure_ascii=False).encode() + b"\n")
                for rows, item in enumerate(items, 1):  # noqa: B007 - counted to the end
                    file.write(item.plain() + b"\n")
                    shown.advance()
    return Exported(path, rows, path.stat().st_size)


def export_inventory(
    catalog: Catalog,
    collections: Sequence[str],
    path: Path,
    *,
    progress: Progress | None = None,
) -> Exported:
    """Write a table of all files of the items, a row each, whole or not at all.

    Args:
        catalog: where the items are.
        collections: their ids; empty is all.
        path: ends in .parquet or .csv; replaced if there.
        progress: counts items.

    Raises:
        CollectionNotFound: lists the collections that there are.
        FormatUnsupported: another suffix.
        OutputFailed: the disk is full or the folder cannot be written; nothing is left behind.
        Cancelled: raised by `progress`; nothing is left behind.
    """
    shown = progress or Progress()
    if path.suffix.lower() not in INVENTORIES:
        raise FormatUnsupported(
            f"Inventories end in {' '.join(INVENTORIES)}, not {path.suffix.lower()!r}."
        )
    names = collections or [one["id"] for one in catalog.collections()]
    with shown, whole_file(path) as part:
        shown.start(sum(catalog.count(name) for name in names), "items")
        items = (item for name in names for item in catalog.search((name,)))
        rows = write_inventory(part, _counted(items, shown))
    return Exported(path, rows, path.stat().st_size)


def _counted(items: Iterable[dict[str, Any]], progress: Progress) -> Iterator[dict[str, Any]]:
    for item in items:
        yield item
        progress.advance()


def import_items(
    path: Path, catalog: Catalog, *, collection: str = "", progress: Progress | None = None
) -> Imported:
    """Take the items of files into a catalogue; collections that are not there are made.

    Items that are there already and the same are kept, so an import that was stopped goes on when
    it is called again. A collection that is there keeps its document.

    Args:
        path: a stac-geoparquet file (of Terrazzo, stac-geoparquet or rustac), a file of lines of
            JSON, or a folder of such.
        catalog: where they go.
        collection: id of the collection that all items go to; empty is the one that they name.
        progress: counts items of a file, and is told of those that are left out.

    Raises:
        ArgumentInvalid: nothing is there, or nothing at all could be taken in.
        OutputFailed: the catalogue cannot be written; what is done is kept.
        Cancelled: raised by `progress`; what is done is kept.
    """
    shown = progress or Progress()
    taking = Taking(catalog, collection)
    for file in _files(path):
        with shown:
            try:
                taking.file(file, shown)
            except SourceUnreadable as error:
                taking.fail(file.name, f"{error.reason}", shown)
    if not taking.made + taking.kept and taking.failed:
        first = next(iter(taking.failed.items()))
        raise ArgumentInvalid(
            f"Nothing could be imported; the first reason: {first[0]}: {first[1]}."
        )
    return Imported(tuple(taking.names), taking.made, taking.kept, dict(taking.failed))


def _files(path: Path) -> list[Path]:
    """Return the files to import.

    Raises:
        ArgumentInvalid: there are none.
    """
    kinds = PARQUET + LINES
    inside = (
        sorted(p for p in path.rglob("*") if not p.name.startswith("."))
        if path.is_dir()
        else [path]
    )
    found = [one for one in inside if one.suffix.lower() in kinds and one.is_file()]
    if not found:
        raise ArgumentInvalid(
            f"There is nothing to import in {path}. Name a file that ends in {' '.join(kinds)}, or "
            "a folder of such."
        )
    return found


@dataclass(slots=True)
class Taking:
    """Items on their way into a catalogue, and what has become of them."""

    catalog: Catalog
    collection: str = ""
    """Where all of them go; empty is where they say."""
    made: int = 0
    kept: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    names: dict[str, None] = field(default_factory=dict)

    def file(self, path: Path, progress: Progress) -> None:
        """Take in the items of one file.

        Raises:
            SourceUnreadable: it cannot be read; what was read before is kept.
        """
        if path.suffix.lower() in PARQUET:
            documents, items = read_collections(path), read_items(path)
            progress.start(count_items(path), f"items of {path.name}")
        else:
            documents, items = {}, read_lines(path)
            progress.start(0, f"items of {path.name}")
        while batch := list(islice(items, _BATCH)):
            stated = [one for one in batch if one.get("type") == "Collection"]
            documents |= {str(one.get("id")): one for one in stated}
            self.items([one for one in batch if one not in stated], documents, progress)
            count = len(batch) - len(stated)
            progress.total = max(progress.total, progress.done + count)
            progress.advance(count)
        for name, document in documents.items():
            self._open(self.collection or name, document)

    def items(
        self,
        items: Sequence[dict[str, Any]],
        documents: Mapping[str, Mapping[str, Any]],
        progress: Progress,
    ) -> None:
        """Put those items that are not there yet, the same."""
        groups: dict[str, dict[str, dict[str, Any]]] = {}
        for item in items:
            source = item.get("collection")
            name = self.collection or source
            if not isinstance(name, str) or not name:
                self.fail(str(item.get("id")), "it names no collection; say which", progress)
                continue
            groups.setdefault(name, {})[str(item.get("id"))] = item | {"collection": name}
            self._open(name, documents.get(str(source)))
        for name, group in groups.items():
            there = {one["id"]: one for one in self.catalog.search((name,), ids=list(group))}
            fresh = [one for key, one in group.items() if there.get(key) != one]
            self.kept += len(group) - len(fresh)
            self._put(name, fresh, progress)

    def _put(self, name: str, items: Sequence[dict[str, Any]], progress: Progress) -> None:
        """Put items; where one of them is invalid, one by one."""
        if not items:
            return
        try:
            self.made += self.catalog.put_items(items, batch=len(items))
        except ArgumentInvalid as error:
            if len(items) == 1:
                self.fail(str(items[0].get("id")), str(error), progress)
                return
            for item in items:
                self._put(name, [item], progress)

    def _open(self, name: str, document: Mapping[str, Any] | None) -> None:
        """Make a collection that is not there."""
        if name in self.names:
            return
        try:
            self.catalog.collection(name)
        except CollectionNotFound:
            made = {**document, "id": name} if document else make_collection(name)
            self.catalog.put_collection(made)
        self.names[name] = None

    def fail(self, name: str, reason: str, progress: Progress) -> None:
        """Leave something out."""
        self.failed[name] = reason
        progress.note(f"left out {name}: {reason}")


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Stream the documents of a file of lines of JSON.

    Raises:
        SourceUnreadable: a line is no JSON object, or longer than 64 MB.
    """

    def unreadable(reason: str) -> SourceUnreadable:
        return SourceUnreadable(path.name, "items", reason, "Mend the file, or name another.")

    with path.open("rb") as file:
        number = 0
        while line := file.readline(_LONGEST_LINE):
            number += 1
            if not line.strip():
                continue
            try:
                document = json.loads(line)
            except (ValueError, RecursionError):
                raise unreadable(f"line {number} is no JSON") from None
            if not isinstance(document, dict):
                raise unreadable(f"line {number} is no JSON object")
            yield document
