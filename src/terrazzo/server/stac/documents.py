"""Items as STAC clients read them: links that lead here, assets that can be fetched from here."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from terrazzo.catalog.json_text import json_text
from terrazzo.server.web.links import address, link

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastapi import Request

    from terrazzo.catalog import StoredItem
    from terrazzo.ledger import Signer
    from terrazzo.server.settings import ServerSettings

GEOJSON = "application/geo+json"
_ALWAYS = ("type", "id", "stac_version", "collection", "links", "assets", "geometry", "bbox")
OFTEN = (*_ALWAYS, "properties.datetime")
"""What clients get of an item beside the fields that they ask for."""


class ItemsHere:
    """Turns stored items into what is served; one for each answer."""

    def __init__(
        self,
        request: Request,
        settings: ServerSettings,
        signer: Signer,
        restricted: Callable[[], frozenset[str]],
    ) -> None:
        """Remember where the answer goes.

        Args:
            request: that is answered.
            settings: of the server.
            signer: makes addresses of assets that work without log-in.
            restricted: returns the collections whose assets need such an address; called when
                there is the first file of this server to give the address of.
        """
        self._signer, self._restricted = signer, cache(restricted)
        self.expires = False
        """Whether an address was given that works for some time only."""
        self._expires = int(time.time() + settings.link_hours * 3600)
        self._request, self._settings = request, settings
        self._collections: dict[str, tuple[str, bytes]] = {}

    def served(self, item: StoredItem) -> bytes:
        """Return an item with links to here, as JSON; no path of this machine is in it."""
        known = self._collections.get(item.collection)
        if known is None:
            known = self._collections[item.collection] = self._collection(item.collection)
        items, links = known
        here = items + quote(item.id, safe="")
        own = json_text(link("self", here, GEOJSON))

        def signed(key: str) -> str:
            if item.collection not in self._restricted():
                return ""
            self.expires = True
            text = asset_text(item.collection, item.id, key)
            return f"?key={self._signer.sign(text, self._expires)}"

        return item.served(here, own + links, signed)

    def _collection(self, name: str) -> tuple[str, bytes]:
        """Return the address before the ids of a collection's items, and links of each."""
        here = address(self._request, self._settings, "collections", name)
        root = address(self._request, self._settings) + "/"
        links = [link("parent", here), link("collection", here), link("root", root)]
        return f"{here}/items/", b"".join(b"," + json_text(one) for one in links)


def asset_text(collection: str, name: str, key: str) -> str:
    """Return what is signed of an asset's address."""
    return json.dumps(["asset", collection, name, key])


@dataclass(frozen=True, slots=True)
class Page:
    """A page of items, on its way to a client."""

    features: list[bytes]
    """The items, JSON."""
    links: list[dict[str, Any]]
    """Where it came from."""
    after: str = ""
    """Where to go on; empty at the end."""
    extra: dict[str, Any] = field(default_factory=dict)
    """More members."""

    def text(self, links: Sequence[dict[str, Any]] = ()) -> bytes:
        """Return the page as JSON.

        Args:
            links: more of them.
        """
        head = json_text(
            {
                "type": "FeatureCollection",
                **self.extra,
                "numberReturned": len(self.features),
                "links": [*self.links, *links],
            }
        )
        return b"".join([head[:-1], b',"features":[', b",".join(self.features), b"]}"])
