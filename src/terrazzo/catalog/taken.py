"""Ids that are taken: errors of adding what is there already."""

from __future__ import annotations

from terrazzo.errors import TerrazzoError


class CollectionExists(TerrazzoError):
    """A collection was to be added whose id is taken."""

    code, status = "CollectionExists", 409

    def __init__(self, collection: str) -> None:
        self.collection = collection
        super().__init__(
            f"Collection {collection!r} is there already. Replace it with PUT, or choose "
            "another id."
        )


class ItemExists(TerrazzoError):
    """An item was to be added whose id its collection has already."""

    code, status = "ItemExists", 409

    def __init__(self, collection: str, item: str) -> None:
        self.collection, self.item = collection, item
        super().__init__(
            f"Item {item!r} is in collection {collection!r} already. Replace it with PUT, or "
            "choose another id."
        )
