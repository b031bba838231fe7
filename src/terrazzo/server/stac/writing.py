"""What requests change in the catalogue: who may, what is checked, what is kept.

Every change is one transaction of the catalogue. What a client sends is what it was served: what is
not shown (the paths of files of this machine, our own members) is put back before it is kept.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from terrazzo.catalog.json_text import json_text
from terrazzo.catalog.stored import StoredItem
from terrazzo.catalog.taken import CollectionExists
from terrazzo.errors import (
    ArgumentInvalid,
    CollectionNotFound,
    ItemNotFound,
)
from terrazzo.ledger.own_collections import (
    CollectionForeign,
    CollectionQuotaExceeded,
    collections_of,
    forget,
    make_own,
    may_change,
    prefix_of,
)
from terrazzo.server.stac.documents import ItemsHere
from terrazzo.server.stac.submitted import checked_collection, checked_item
from terrazzo.server.stac.tags import Condition, collection_tag, tag_of
from terrazzo.server.web.faults import RequestInvalid, RequestTooLarge
from terrazzo.server.web.links import address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fastapi import Request

    from terrazzo.catalog import Catalog
    from terrazzo.ledger import Principal
    from terrazzo.server.parts import Parts
    from terrazzo.server.stac.wanted import Json

_INTERNAL = "terrazzo:"


@dataclass(frozen=True, slots=True)
class Writer:
    """Somebody who changes the catalogue by a request."""

    shared: Parts
    """The parts of the server."""
    who: Principal
    """Asks."""
    request: Request
    """Which tells the conditions of a change, and where the answer goes."""

    @property
    def _condition(self) -> Condition:
        return Condition.of(self.request)

    def admit(self, collection: str) -> None:
        """Let nobody go on who may not write a collection.

        Raises:
            CollectionNotFound: it is not there for them.
            CollectionForeign: they may see it, but not change it.
        """
        self._opened(collection).close()

    def _opened(self, collection: str) -> Catalog:
        """Return the catalogue, for those who may write a collection; as `admit`."""
        catalog = self.shared.workspace_of(self.who).catalog()
        try:
            catalog.version(collection)
            self._check_owner(collection)
        except BaseException:
            catalog.close()
            raise
        return catalog

    def _check_owner(self, collection: str) -> None:
        if not may_change(self.shared.database, self.who, collection):
            raise CollectionForeign(
                f"Collection {collection!r} is not yours. Only its owner and admins change it."
            )

    # collections

    def make_collection(self, document: object) -> str:
        """Add a collection; an admin's is seen as `terrazzo access` says, another's is private.

        Returns:
            Its id.

        Raises:
            RequestInvalid, RequestTooLarge, ArgumentInvalid: the document cannot be one.
            CollectionForeign: somebody who is no admin takes an id that is not one of theirs.
            CollectionQuotaExceeded: they have as many as they may have.
            CollectionExists: there is one of that id.
        """
        collection = checked_collection(document)
        name: str = collection["id"]
        with self.shared.workspace.catalog() as catalog:
            if self.who.admin:
                catalog.put_collection(collection, new=True)
                return name
            self._check_name(name)
            self._check_room(catalog)
            if _is_there(catalog, name):  # before anything says that it is theirs
                raise CollectionExists(name)
            make_own(
                self.shared.database,
                self.who,
                name,
                lambda: catalog.put_collection(collection, new=True),
            )
        return name

    def _check_name(self, name: str) -> None:
        prefix = prefix_of(self.shared.database, self.who)
        if not name.startswith(prefix) or name == prefix:
            raise CollectionForeign(
                f"The ids of your collections begin with {prefix!r}; call it "
                f"{prefix + name!r}. Others are made by admins."
            )

    def _check_room(self, catalog: Catalog) -> None:
        most = self.shared.settings.limits.collections
        mine = collections_of(self.shared.database, self.who)
        if len(mine) >= most:
            there = {one["id"] for one in catalog.collections()} & mine
            if len(there) >= most:
                raise CollectionQuotaExceeded(
                    f"You have {len(there):,} collections and may have {most:,}. Delete one that "
                    "is not needed any more, or ask the operator for more."
                )

    def change_collection(self, name: str, read: Callable[[], Callable[[Json], object]]) -> None:
        """Replace the document of a collection.

        Args:
            name: its id.
            read: reads the request; what it returns makes the new document of the old one, of
                which it gets what may be shown.

        Raises:
            CollectionNotFound, CollectionForeign, PreconditionFailed, RequestInvalid,
            RequestTooLarge, ArgumentInvalid: see `submitted`, `patches` and `tags`.
        """

        def changed(old: dict[str, Any]) -> dict[str, Any]:
            self._condition.check(collection_tag(old))
            shown = {key: old[key] for key in old if not key.startswith(_INTERNAL)}
            hidden = {key: old[key] for key in old if key.startswith(_INTERNAL)}
            assets = _mapping(old, "assets")
            if "assets" in shown:
                shown["assets"] = {key: one for key, one in assets.items() if _is_away(one)}
            new = checked_collection(change(json.loads(json_text(_plain(shown)))), name)
            kept = {key: one for key, one in assets.items() if not _is_away(one)}
            if kept:
                new["assets"] = {**kept, **new.get("assets", {})}
            for key, one in _mapping(old, "item_assets").items():
                _give_back(_mapping(_mapping(new, "item_assets"), key), one)
            return {**new, **hidden}

        with self._opened(name) as catalog:
            change = read()
            catalog.collection(name)  # what its items say is known from here on
            catalog.change_collection(name, changed)

    def delete_collection(self, name: str) -> None:
        """Delete a collection with its items; whose it was is forgotten.

        Raises:
            CollectionNotFound, CollectionForeign, PreconditionFailed: see `tags`.
        """

        def is_there() -> bool:
            with self.shared.workspace.catalog() as whole:
                return _is_there(whole, name)

        with self._opened(name) as catalog:
            catalog.delete_collection(
                name, check=lambda old: self._condition.check(collection_tag(old))
            )
        forget(self.shared.database, name, is_there)

    # items

    def add_items(self, collection: str, read: Callable[[], object]) -> StoredItem | int:
        """Add an item, or all of a FeatureCollection; of which all are added, or none.

        Args:
            collection: where they go.
            read: reads the document of the request.

        Returns:
            The item, or how many there were in the FeatureCollection.

        Raises:
            CollectionNotFound, CollectionForeign: see `admit`.
            RequestInvalid, RequestTooLarge, ArgumentInvalid: one cannot be added; the message says
                which.
            ItemExists: there is one of that id.
            CollectionQuotaExceeded: the collection would have more than it may have.
        """
        with self._opened(collection) as catalog:
            document = read()
            if isinstance(document, dict) and document.get("type") == "FeatureCollection":
                items = self._features(collection, document)
                self._check_items(catalog, collection, len(items))
                return catalog.put_items(items, batch=max(len(items), 1), new=True)
            item = checked_item(document, collection)
            self._check_items(catalog, collection, 1)
            catalog.put_items((item,), new=True)
            return StoredItem.of(item)

    def _features(self, collection: str, document: Any) -> list[Json]:
        features, most = document.get("features"), self.shared.settings.limits.items
        if not isinstance(features, list):
            raise RequestInvalid("The FeatureCollection has no list `features`.")
        if len(features) > most:
            raise RequestTooLarge(
                f"The request adds {len(features):,} items and may add {most:,}. Send them in "
                "several requests."
            )
        found: dict[str, Json] = {}
        for number, feature in enumerate(features):
            try:
                item = checked_item(feature, collection)
            except (RequestInvalid, RequestTooLarge, ArgumentInvalid) as problem:
                told = RequestInvalid(f"features.{number}: {problem}")
                raise told from None
            if item["id"] in found:
                place = list(found).index(item["id"])
                raise RequestInvalid(
                    f"features.{number} has the id {item['id']!r} of features.{place}."
                )
            found[item["id"]] = item
        return list(found.values())

    def _check_items(self, catalog: Catalog, collection: str, more: int) -> None:
        most = self.shared.settings.limits.collection_items
        if not self.who.admin and catalog.count(collection) + more > most:
            raise CollectionQuotaExceeded(
                f"A collection may have {most:,} items, and {collection!r} would have more. Make "
                "another one, or ask the operator for more."
            )

    def change_item(
        self, collection: str, name: str, read: Callable[[], Callable[[Json], object]]
    ) -> StoredItem:
        """Replace an item.

        Args:
            collection: its collection.
            name: its id.
            read: reads the request; what it returns makes the new document of the old one as it
                is served.

        Raises:
            CollectionNotFound, CollectionForeign, ItemNotFound, PreconditionFailed,
            RequestInvalid, RequestTooLarge, ArgumentInvalid: see `submitted`, `patches` and `tags`.
        """

        def changed(old: dict[str, Any]) -> dict[str, Any]:
            stored = StoredItem.of(old)
            self._condition.check(tag_of(stored.plain()))
            shown = json.loads(self.served(stored))
            new = checked_item(change(shown), collection, name)
            return self._whole(new, old)

        with self._opened(collection) as catalog:
            change = read()
            return StoredItem.of(catalog.change_item(collection, name, changed))

    def _whole(self, new: Json, old: Mapping[str, Any]) -> Json:
        """Return an item with what is not shown of the one before it."""
        here = self.address("collections", old["collection"], "items", old["id"])
        assets = _mapping(old, "assets")
        for key, asset in new["assets"].items():
            was = assets.get(key)
            if (
                isinstance(was, dict)
                and not _is_away(was)
                and asset["href"].partition("?")[0] == f"{here}/assets/{quote(key, safe='')}"
            ):
                asset["href"] = was.get("href")
                _give_back(asset, was)
        _give_back(new["properties"], _mapping(old, "properties"))
        _give_back(new, old)
        return new

    def delete_item(self, collection: str, name: str) -> None:
        """Delete an item.

        Raises:
            CollectionNotFound, CollectionForeign, ItemNotFound, PreconditionFailed: see `tags`.
        """

        def check(old: dict[str, Any]) -> None:
            self._condition.check(tag_of(StoredItem.of(old).plain()))

        with self._opened(collection) as catalog:
            if not catalog.delete_items(collection, (name,), check=check):
                raise ItemNotFound(collection, name)

    # answers

    def address(self, *path: str) -> str:
        """Return the address of something here."""
        return address(self.request, self.shared.settings, *path)

    def served(self, item: StoredItem) -> bytes:
        """Return an item as it is served."""
        shared = self.shared
        here = ItemsHere(self.request, shared.settings, shared.signer, shared.restricted)
        return here.served(item)


def _is_there(catalog: Catalog, name: str) -> bool:
    try:
        catalog.version(name)
    except CollectionNotFound:
        return False
    return True


def _mapping(owner: Mapping[str, Any], member: str) -> dict[str, Any]:
    value = owner.get(member)
    return value if isinstance(value, dict) else {}


def _is_away(asset: object) -> bool:
    """Tell whether an asset names an address, and no file of this machine."""
    href = asset.get("href") if isinstance(asset, dict) else None
    return isinstance(href, str) and href.startswith(("http://", "https://", "s3://"))


def _give_back(new: dict[str, Any], old: Mapping[str, Any]) -> None:
    """Put back our own members, which are not shown."""
    new |= {key: value for key, value in old.items() if key.startswith(_INTERNAL)}


def _plain(value: Any) -> Any:
    """Return a JSON value without our own members, however deep."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if not k.startswith(_INTERNAL)}
    return [_plain(one) for one in value] if isinstance(value, list) else value
