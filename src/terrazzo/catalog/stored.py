"""An item as a catalogue keeps it: text that becomes what was put or what is served, unread.

The text is JSON in which bytes that JSON cannot hold mark where the two differ:
`01 <as put> 02 <as served> 03`. In what is served, `04 <path> 05` is an address below the item's
own, and `06` is the links that the server adds. So nobody parses an item to pass it on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

from terrazzo.catalog.json_text import json_text

if TYPE_CHECKING:
    from collections.abc import Callable

STAC_VERSION: Final = "1.1.0"
_BEGIN, _BETWEEN, _END, _HERE, _HERE_END, _LINKS = (bytes([code]) for code in range(1, 7))
_INTERNAL: Final = "terrazzo:"
_OURS: Final = ("self", "root", "parent", "collection", "items")
"""Relations of links that the server makes."""
_ASSETS: Final = b"/assets/"
_SCHEMES: Final = ("http://", "https://", "s3://")
_QUOTED: Final = b'"' + _INTERNAL.encode()


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item that was found."""

    collection: str
    """Id of its collection."""
    id: str
    """Its own id."""
    text: bytes
    """Its document with marks: see the module; read it with the methods."""

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> StoredItem:
        """Write an item; it has an `id` and a `collection`.

        Raises:
            TypeError, ValueError, RecursionError: see `json_text`.
        """
        name, collection = item["id"], item["collection"]
        if "stac_version" in item and "stac_extensions" in item and _all_away(item.get("assets")):
            rest = json_text({key: value for key, value in item.items() if key != "links"})
            if _QUOTED not in rest:  # nothing is marked but links
                return cls(collection, name, b"".join([rest[:-1], _links(item), b"}"]))
        parts = [b'{"id":', json_text(name)]
        for key, value in item.items():
            if key not in {"id", "assets", "links"}:
                member = b"," + json_text({key: value})[1:-1]
                parts.append(_mark(member, b"") if _is_internal(key) else member)
        if "stac_version" not in item:
            parts.append(_mark(b"", b',"stac_version":' + json_text(STAC_VERSION)))
        if "stac_extensions" not in item:
            parts.append(_mark(b"", b',"stac_extensions":[]'))
        parts += [_assets(item), _links(item), b"}"]
        return cls(collection, name, b"".join(parts))

    def plain(self) -> bytes:
        """Return its document as JSON in UTF-8, as it was put."""
        first, *rest = self.text.split(_BEGIN)
        parts = [first]
        for part in rest:
            put, _, tail = part.partition(_BETWEEN)
            parts += [put, tail.partition(_END)[2]]
        return b"".join(parts)

    def document(self) -> dict[str, Any]:
        """Return its document as it was put."""
        found: dict[str, Any] = json.loads(self.plain())
        return found

    def served(self, here: str, links: bytes, sign: Callable[[str], str] | None = None) -> bytes:
        """Return its document as JSON for others; no path of this machine is in it.

        Args:
            here: its address; assets that are files of this machine are fetched below it.
            links: JSON of the links to put before its own, with commas between.
            sign: makes what is put behind the address of the asset with a key.
        """
        first, *rest = self.text.split(_BEGIN)
        parts = [first]
        for part in rest:
            other, _, tail = part.partition(_BETWEEN)[2].partition(_END)
            if _HERE in other:
                other = _addressed(other, here, sign)
            parts += [other.replace(_LINKS, links), tail]
        return b"".join(parts)


def _mark(put: bytes, served: bytes) -> bytes:
    """Return a place where what is put and what is served differ."""
    return _BEGIN + put + _BETWEEN + served + _END


def _is_internal(key: object) -> bool:
    return isinstance(key, str) and key.startswith(_INTERNAL)


def _is_address(thing: Mapping[str, Any]) -> bool:
    href = thing.get("href")
    return isinstance(href, str) and href.startswith(_SCHEMES)


def _all_away(assets: object) -> bool:
    """Tell whether all assets are addresses."""
    if type(assets) is not dict:
        return False
    for one in assets.values():  # a generator would take twice as long
        href = one.get("href") if type(one) is dict else None
        if type(href) is not str or not href.startswith(_SCHEMES):
            return False
    return True


def _assets(item: Mapping[str, Any]) -> bytes:
    """Return the member `assets`."""
    assets = item.get("assets")
    if not isinstance(assets, Mapping):
        member = b"," + json_text({"assets": assets})[1:-1] if "assets" in item else b""
        return _mark(member, b',"assets":{}')
    if all(isinstance(key, str) for key in assets) and all(map(_is_usual, assets.values())):
        entries = [json_text(key) + b":" + _asset(key, one) for key, one in assets.items()]
        return b',"assets":{' + b",".join(entries) + b"}"
    shown = {str(key): one for key, one in assets.items() if isinstance(one, Mapping)}
    entries = [json_text(key) + b":" + _shown_asset(key, one) for key, one in shown.items()]
    return b',"assets":' + _mark(json_text(assets), b"{" + b",".join(entries) + b"}")


def _is_usual(asset: object) -> bool:
    return isinstance(asset, Mapping) and "href" in asset


def _asset(key: str, asset: Mapping[str, Any]) -> bytes:
    """Return an asset that states where it is."""
    href = json_text(asset["href"])
    parts = [b'{"href":', href if _is_address(asset) else _mark(href, _below(key))]
    for name, value in asset.items():
        if name != "href":
            member = b"," + json_text({name: value})[1:-1]
            parts.append(_mark(member, b"") if _is_internal(name) else member)
    return b"".join([*parts, b"}"])


def _shown_asset(key: str, asset: Mapping[str, Any]) -> bytes:
    """Return an asset as it is served."""
    told = {name: value for name, value in asset.items() if not _is_internal(name)}
    if _is_address(asset):
        return json_text(told)
    told.pop("href", None)
    rest = json_text(told)[1:-1]
    return b'{"href":' + _below(key) + (b"," if rest else b"") + rest + b"}"


def _below(key: str) -> bytes:
    """Return the address of an asset, as a text of JSON."""
    return b'"' + _HERE + _ASSETS + quote(key, safe="").encode() + _HERE_END + b'"'


def _addressed(text: bytes, here: str, sign: Callable[[str], str] | None) -> bytes:
    """Write the addresses of assets."""
    first, *rest = text.split(_HERE)
    parts, base = [first], json_text(here)[1:-1]
    for part in rest:
        path, _, tail = part.partition(_HERE_END)
        more = "" if sign is None else sign(unquote(path.removeprefix(_ASSETS).decode()))
        parts += [base, path, json_text(more)[1:-1], tail]
    return b"".join(parts)


def _links(item: Mapping[str, Any]) -> bytes:
    """Return the member `links`; the last links that are served as they are have no mark."""
    links = item.get("links")
    if not isinstance(links, list):
        member = b"," + json_text({"links": links})[1:-1] if "links" in item else b""
        return _mark(member, b',"links":[' + _LINKS + b"]")
    texts = [(json_text(one), _is_shown(one)) for one in links]
    count = len(texts)
    while count and texts[count - 1][1]:
        count -= 1
    more = b"," if count < len(texts) else b""
    put = b",".join(text for text, _ in texts[:count]) + (more if count else b"")
    shown = b",".join([_LINKS, *(text for text, is_shown in texts[:count] if is_shown)]) + more
    rest = b",".join(text for text, _ in texts[count:])
    return b',"links":[' + _mark(put, shown) + rest + b"]"


def _is_shown(link: object) -> bool:
    return isinstance(link, Mapping) and link.get("rel") not in _OURS and _is_address(link)
