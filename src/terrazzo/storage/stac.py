"""STAC documents over HTTP: items of a remote item, collection, static catalogue or API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from terrazzo.errors import SourceUnreadable
from terrazzo.storage.remote.download import download

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from terrazzo.storage.gate import Gate
    from terrazzo.storage.remote.transport import Address

BASE = "terrazzo:base"
"""Member of an item that says which address its relative hrefs count from."""
MOST_DOCUMENTS = 100_000


def fetch_stac(gate: Gate, url: str) -> tuple[Mapping[str, Any], Iterator[Mapping[str, Any]]]:
    """Return the document at an address, and its items as they are walked to.

    An item is its own only item; a collection or catalogue gives the items that its `items`
    link (API) or its `item` and `child` links (static) lead to.

    Args:
        gate: every address is checked by it, those in links too.
        url: http or https.

    Raises:
        AssetForbidden: a host is not on the allow-list.
        SourceUnreadable: the address gives no STAC document.
    """
    address = gate.address(url)
    document = _fetch(address)
    if document.get("type") not in {"Feature", "Collection", "Catalog"}:
        raise SourceUnreadable(
            address.url, "document", "it is no STAC item, collection or catalogue"
        )
    return document, _items(gate, address, document)


def _items(
    gate: Gate, address: Address, document: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    waiting: list[tuple[Address, Mapping[str, Any] | None]] = [(address, document)]
    seen = {address}
    while waiting:
        here, known = waiting.pop(0)
        found = known if known is not None else _fetch(here)
        if found.get("type") == "Feature":
            yield {**found, BASE: here.url.rsplit("/", 1)[0]}
            continue
        if found.get("type") == "FeatureCollection":
            for item in _objects(found, "features"):
                yield {**item, BASE: here.url.rsplit("/", 1)[0]}
        for link in _followed(found):
            following = gate.address(str(link["href"]), here.url)
            if following not in seen and len(seen) < MOST_DOCUMENTS:
                seen.add(following)
                waiting.append((following, None))


def _followed(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    links = [link for link in _objects(document, "links") if "href" in link]
    if document.get("type") == "FeatureCollection":
        return [link for link in links if link.get("rel") == "next"]
    by_api = [link for link in links if link.get("rel") == "items"]
    return by_api or [link for link in links if link.get("rel") in {"item", "child"}]


def _objects(document: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Return the objects of a member that should be a list of such."""
    found = document.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _fetch(address: Address) -> Mapping[str, Any]:
    content = download(address)
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SourceUnreadable(address.url, "document", "it is no JSON") from error
    if not isinstance(document, dict):
        raise SourceUnreadable(address.url, "document", "it is no JSON object")
    return document
