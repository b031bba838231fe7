"""Copies a catalogue into another one, of whatever kind, and sees that nothing is missing."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from terrazzo.errors import CollectionNotFound, TerrazzoError
from terrazzo.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from terrazzo.catalog.interface import Catalog

_BATCH: Final = 1000


class CatalogsDiffer(TerrazzoError):
    """A catalogue that was copied is not equal to its copy."""

    code, status = "CatalogsDiffer", 500


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied."""

    collections: int
    """Collections that are in both now."""
    items: int
    """Items that were copied now."""
    kept: int
    """Items that were there already, equal."""


def copy_catalog(source: Catalog, target: Catalog, *, progress: Progress | None = None) -> Copied:
    """Copy all collections and items that can be seen, then compare every document.

    It may be stopped at any moment; the same call goes on. Nothing is changed in the source.

    Args:
        source: what is copied; nobody should write to it meanwhile.
        target: may hold other collections, which are left alone.
        progress: is told of every batch, and may cancel.

    Raises:
        CatalogsDiffer: the target has items in one of the collections that the source lacks, or
            somebody changed one of the catalogues meanwhile.
        OutputFailed: the target could not be written; what is done is kept.
        Cancelled: raised by `progress`; what is done is kept.
    """
    shown = progress or Progress()
    names = [collection["id"] for collection in source.collections()]
    made = kept = 0
    with shown:
        shown.start(sum(source.count(name) for name in names), "items")
        for name in names:
            _copy_collection(source, target, name)
            for batch in _batches(source, name):
                missing = _missing(target, name, batch)
                target.put_items(missing, batch=_BATCH)
                shown.resume(len(batch) - len(missing))
                shown.advance(len(missing))
                made, kept = made + len(missing), kept + len(batch) - len(missing)
    with shown:
        shown.start(made + kept, "items compared")
        for name in names:
            _compare(source, target, name, shown)
    return Copied(len(names), made, kept)


def _copy_collection(source: Catalog, target: Catalog, name: str) -> None:
    """Copy what is stated of a collection; what its items say, the target finds by itself."""
    stated = source.stated(name)
    try:
        there = target.stated(name)
    except CollectionNotFound:
        there = None
    if there != stated:
        target.put_collection(stated)


def _batches(catalog: Catalog, collection: str) -> Iterator[dict[str, dict[str, Any]]]:
    """Return the items of a collection by id, some at a time."""
    found = catalog.search((collection,))
    while batch := {item["id"]: item for item in islice(found, _BATCH)}:
        yield batch


def _missing(
    target: Catalog, collection: str, batch: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the items that the target has not, or otherwise."""
    there = {item["id"]: item for item in target.search((collection,), ids=tuple(batch))}
    return [item for name, item in batch.items() if there.get(name) != item]


def _compare(source: Catalog, target: Catalog, name: str, progress: Progress) -> None:
    """See that a collection is the same in both.

    Raises:
        CatalogsDiffer: it is not.
    """
    again = "Keep others from writing to either, and copy again."
    if source.stated(name) != target.stated(name):
        raise CatalogsDiffer(f"Collection {name!r} was changed while it was copied. {again}")
    for batch in _batches(source, name):
        differing = _missing(target, name, batch)
        if differing:
            raise CatalogsDiffer(
                f"Collection {name!r}: {len(differing)} items are not in {target.shown} as they "
                f"are in {source.shown}, for example {differing[0]['id']!r}. {again}"
            )
        progress.advance(len(batch))
    ours, theirs = source.count(name), target.count(name)
    if ours != theirs:
        raise CatalogsDiffer(
            f"Collection {name!r} has {ours} items in {source.shown} and {theirs} in "
            f"{target.shown}. Delete it there first, or move the others away; {again.lower()}"
        )
