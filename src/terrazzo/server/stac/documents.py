"""Items as STAC clients read them: links that lead here, assets that can be fetched from here."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from terrazzo.catalog.stac import STAC_VERSION
from terrazzo.server.web.links import address, link

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastapi import Request

    from terrazzo.ledger import Signer
    from terrazzo.server.settings import ServerSettings
    from terrazzo.server.stac.query import Fields

GEOJSON = "application/geo+json"
_INTERNAL = "terrazzo:"
_OURS = ("self", "root", "parent", "collection", "items")
_ALWAYS = ("type", "id", "stac_version", "collection", "links", "assets", "geometry", "bbox")
_OFTEN = (*_ALWAYS, "properties.datetime")


class ItemsHere:
    """Turns stored items into what is served; one for each answer."""

    def __init__(
        self,
        request: Request,
        settings: ServerSettings,
        signer: Signer,
        restricted: frozenset[str] = frozenset(),
    ) -> None:
        """Remember where the answer goes.

        Args:
            request: that is answered.
            settings: of the server.
            signer: makes addresses of assets that work without log-in.
            restricted: collections whose assets need such an address.
        """
        self._signer, self._restricted = signer, restricted
        self._expires = int(time.time() + settings.link_hours * 3600)
        self._request, self._settings = request, settings

    def _to(self, *path: str) -> str:
        return address(self._request, self._settings, *path)

    def served(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Return an item with links to here; no path of this machine is in it."""
        collection, name = item["collection"], item["id"]
        here = self._to("collections", collection, "items", name)
        stored = item.get("links")
        links = [
            one
            for one in (stored if isinstance(stored, list) else [])
            if isinstance(one, Mapping) and one.get("rel") not in _OURS and _is_address(one)
        ]
        told = {key: value for key, value in item.items() if not key.startswith(_INTERNAL)}
        told["stac_version"] = item.get("stac_version", STAC_VERSION)
        told["stac_extensions"] = item.get("stac_extensions", [])
        told["links"] = [
            link("self", here, GEOJSON),
            link("parent", self._to("collections", collection)),
            link("collection", self._to("collections", collection)),
            link("root", self._to() + "/"),
            *links,
        ]
        assets = item.get("assets")
        known = assets if isinstance(assets, Mapping) else {}
        told["assets"] = {
            key: self._asset(asset, collection, name, key)
            for key, asset in known.items()
            if isinstance(asset, Mapping)
        }
        return told

    def _asset(
        self, asset: Mapping[str, Any], collection: str, name: str, key: str
    ) -> dict[str, Any]:
        told = {k: v for k, v in asset.items() if not k.startswith(_INTERNAL)}
        if not _is_address(asset):
            path = ("collections", collection, "items", name, "assets", key)
            told["href"] = self._to(*path)
            if collection in self._restricted:
                signature = self._signer.sign(asset_text(collection, name, key), self._expires)
                told["href"] += f"?key={signature}"
        return told


def asset_text(collection: str, name: str, key: str) -> str:
    """Return what is signed of an asset's address."""
    return json.dumps(["asset", collection, name, key])


def _is_address(thing: Mapping[str, Any]) -> bool:
    href = thing.get("href")
    return isinstance(href, str) and href.startswith(("http://", "https://"))


def chosen(item: dict[str, Any], fields: Fields | None) -> dict[str, Any]:
    """Return what of an item is asked for.

    With nothing to include it is everything, with a few names what items must have, too.
    """
    if fields is None:
        return item
    if not fields.include and fields.exclude:
        found = copy.deepcopy(item)
    else:
        found = {}
        for name in {*fields.include} | set(_OFTEN):
            _put(item, found, name.split("."))
    for name in fields.exclude:
        if name not in {"id", "type", "collection"}:
            _drop(found, name.split("."))
    return found


def _put(item: Any, found: dict[str, Any], path: list[str]) -> None:
    name, *rest = path
    if not isinstance(item, Mapping) or name not in item:
        return
    if not rest:
        found[name] = item[name]
        return
    inner = found.setdefault(name, {})
    if inner is not item[name] and isinstance(inner, dict):
        _put(item[name], inner, rest)


def _drop(found: Any, path: list[str]) -> None:
    name, *rest = path
    if not isinstance(found, dict):
        return
    if rest:
        _drop(found.get(name), rest)
    else:
        found.pop(name, None)


def feature_collection(
    features: Iterable[dict[str, Any]], links: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return items as one document."""
    listed = list(features)
    return {
        "type": "FeatureCollection",
        "features": listed,
        "numberReturned": len(listed),
        "links": links,
    }
