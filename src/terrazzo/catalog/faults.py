"""What can go wrong with a catalogue beyond bad arguments and unknown collections."""

from __future__ import annotations

from typing_extensions import override

from terrazzo.errors import TerrazzoError


class CatalogUnusable(TerrazzoError):
    """A file is no catalogue, is newer than this code, or cannot be opened."""

    code, status = "CatalogUnusable", 500


class ItemNotFound(TerrazzoError):
    """A collection has no such item."""

    code, status = "ItemNotFound", 404

    def __init__(self, collection: str, item: str) -> None:
        self.collection, self.item = collection, item
        super().__init__(
            f"Item {item!r} is not in collection {collection!r}. List what there is with "
            f"`terrazzo search {collection}`."
        )

    @override
    def __reduce__(self) -> tuple[type[ItemNotFound], tuple[str, str]]:
        """Rebuild from its parts, so that the error crosses process borders."""
        return type(self), (self.collection, self.item)
