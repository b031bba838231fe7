"""Walking through STAC catalogues, static or behind an API, page by page in bounded memory.

The servers and the documents are not trusted: every address passes the gate, also those in links
and redirects, and a document that came over HTTP never leads to a file of this machine.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urljoin

from terrazzo.errors import AssetForbidden, SourceUnreadable
from terrazzo.storage.remote.download import LARGEST_BYTES, Redirected, ServerBusy, download

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from terrazzo.storage.gate import Gate
    from terrazzo.storage.remote.transport import Address

TRIES: Final = 5
MOST_REDIRECTS: Final = 5
MOST_EMPTY: Final = 100
"""Pages without items in a row, before the server is thought to lead in circles."""
AT_ONCE: Final = 8
"""Documents that are fetched at a time."""

_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 30.0
_PART: Final = 64
_WAY_OUT: Final = "Check the address, or try again later."
_BAD_LINK: Final = (AssetForbidden, SourceUnreadable)


@dataclass(frozen=True, slots=True)
class Document:
    """A STAC document, and where it is."""

    address: str
    """URL or path, behind all redirects."""
    content: dict[str, Any]
    """What it says."""


@dataclass(frozen=True, slots=True)
class Found:
    """Some items of a catalogue, on the way through it."""

    address: str = ""
    """Of the page or catalogue."""
    items: tuple[Document, ...] = ()
    """The items; their addresses are what relative hrefs count from."""
    collection: Document | None = None
    """The collection that they, and those that follow, belong to; told once."""
    bad: Mapping[str, str] = field(default_factory=dict)
    """Addresses that gave no item, and why."""
    following: Mapping[str, Any] | None = None
    """The link to the next page of an API."""
    matched: int = 0
    """How many items there are in all, if the server says so."""
    anew: bool = False
    """Whether this is the beginning after all, since the server forgot where we were."""


@dataclass(slots=True)
class _Walk:
    """Where a walk through a static catalogue is."""

    wanted: str
    """The collection whose items are taken."""
    is_named: bool
    """Whether somebody named it; else it is the first one."""
    done: Collection[str]
    """Addresses of items that are passed over."""
    seen: set[str]
    """Addresses of catalogues and collections."""
    waiting: list[tuple[str, str, str]] = field(default_factory=list)
    """Links that are to be followed: href, what it counts from, the collection it is below."""


@dataclass(frozen=True, slots=True)
class StacReader:
    """Reads documents: over HTTP, or files if a file was where it began."""

    gate: Gate
    """Decides what may be read."""
    wait: Callable[[float], None] = time.sleep
    """Waits between tries, seconds."""

    def read(self, href: str, base: str = "", body: Mapping[str, Any] | None = None) -> Document:
        """Return the document at an address.

        Args:
            href: URL, path, or relative to `base`.
            base: address of the document that links to it; empty where a user named it.
            body: what is posted; None gets.

        Raises:
            AssetForbidden: the gate refuses the address, or where it redirects to.
            SourceUnreadable: it gives no JSON object, after several tries.
        """
        if is_url(base) or is_url(href):
            return self._remote(self.gate.address(href, base), body)
        path = self.gate.local_path(href, Path(base).parent if base else None)
        try:
            if path.stat().st_size > LARGEST_BYTES:
                raise SourceUnreadable(path.name, "document", "it is too large", _WAY_OUT)
            return Document(str(path), _object(path.read_bytes(), path.name))
        except OSError as error:
            raise SourceUnreadable(path.name, "document", "there is none", _WAY_OUT) from error

    def _remote(self, address: Address, body: Mapping[str, Any] | None) -> Document:
        """Get or post, with more tries where the server is busy, and redirects by the gate."""
        data = None if body is None else json.dumps(body).encode()
        tries, redirects = 0, 0
        while True:
            try:
                content = download(address, body=data)
                return Document(address.url, _object(content, address.url, ServerBusy))
            except Redirected as moved:
                redirects += 1
                if redirects > MOST_REDIRECTS:
                    raise
                address = self.gate.address(moved.location, address.url)
            except ServerBusy as busy:
                tries += 1
                if tries >= TRIES:
                    raise
                pause = max(busy.wait_s, _FIRST_WAIT_S * 2 ** (tries - 1))
                self.wait(min(pause, _LONGEST_WAIT_S))

    def pages(self, link: Mapping[str, Any], base: str) -> Iterator[Found]:
        """Yield the pages of items of an API, from the one that a link leads to.

        Args:
            link: a STAC link with `href`, and `method` and `body` where it is to be posted.
            base: address that the href counts from.

        Raises:
            AssetForbidden: the gate refuses the address of a page.
            SourceUnreadable: a page is none, or the pages lead in circles.
        """
        seen: set[int] = set()
        empty = 0
        following: Mapping[str, Any] | None = link
        while following is not None:
            request = json.dumps(following, sort_keys=True)
            empty = empty + 1 if hash(request) not in seen else MOST_EMPTY
            if empty >= MOST_EMPTY:
                raise SourceUnreadable(base, "page", "its pages lead in circles", _WAY_OUT)
            seen.add(hash(request))
            is_post = str(following.get("method", "GET")).upper() == "POST"
            body = following.get("body") if is_post else None
            page = self.read(str(following["href"]), base, body if isinstance(body, dict) else None)
            features = page.content.get("features")
            if not isinstance(features, list):
                raise SourceUnreadable(page.address, "page", "it holds no features", _WAY_OUT)
            following, base = _next(page.content, following), page.address
            empty = 0 if features else empty
            yield _page(page, features, following)

    def items_below(
        self, document: Document, wanted: str = "", done: Collection[str] = ()
    ) -> Iterator[Found]:
        """Yield the items of a static catalogue or collection, and of those below it.

        Args:
            document: where to begin.
            wanted: id of the collection whose items are meant; empty is the first one that is met,
                and others are told as bad.
            done: addresses of items that are passed over.
        """
        walk = _Walk(wanted, bool(wanted), done, {document.address})
        with ThreadPoolExecutor(AT_ONCE) as pool:
            yield from self._visit(document, "", walk, pool)
            while walk.waiting:
                href, base, owner = walk.waiting.pop()
                here, bad = self._child(href, base, walk.seen)
                if bad:
                    yield Found(bad=bad)
                if here is not None:
                    yield from self._visit(here, owner, walk, pool)

    def _visit(
        self, here: Document, owner: str, walk: _Walk, pool: ThreadPoolExecutor
    ) -> Iterator[Found]:
        """Yield the items of one document, and note where to go on; `owner` is its collection."""
        is_own = is_collection(here.content)
        if is_own:
            owner = str(here.content["id"])
            walk.wanted = walk.wanted or owner
        is_wanted = owner == walk.wanted or not (owner or walk.is_named)
        if is_wanted and is_own:
            yield Found(here.address, collection=here)
        if is_wanted:
            yield from self._items_of(here, pool, walk.done)
        elif is_own and not walk.is_named:
            yield Found(bad={here.address: _another(owner, walk.wanted)})
            return
        below = [str(link["href"]) for link in links(here.content, "child")]
        walk.waiting += [(href, here.address, owner) for href in reversed(below)]

    def _items_of(
        self, here: Document, pool: ThreadPoolExecutor, done: Collection[str]
    ) -> Iterator[Found]:
        """Yield the items that a static document links to, some at a time.

        Raises:
            ServerBusy: of several that were asked for at a time not one came.
        """
        coming = iter(links(here.content, "item"))
        while part := list(islice(coming, _PART)):
            new = [link for link in part if absolute(str(link["href"]), here.address) not in done]
            good: list[Document] = []
            bad: dict[str, str] = {}
            busy: list[ServerBusy] = []
            answers = pool.map(lambda link: self._item(link, here.address), new)
            for link, answer in zip(new, answers, strict=True):
                if isinstance(answer, Document):
                    good.append(answer)
                else:
                    bad[str(link["href"])] = reason(answer)
                    busy += [answer] if isinstance(answer, ServerBusy) else []
            if len(busy) == len(new) > 1:
                raise busy[0]
            yield Found(here.address, tuple(good), bad=bad)

    def _item(
        self, link: Mapping[str, Any], base: str
    ) -> Document | AssetForbidden | SourceUnreadable:
        """Return the item that a link leads to, or why there is none."""
        try:
            found = self.read(str(link["href"]), base)
        except _BAD_LINK as error:
            return error
        if found.content.get("type") != "Feature":
            return SourceUnreadable(found.address, "document", "it is no STAC item", _WAY_OUT)
        return found

    def _child(
        self, href: str, base: str, seen: set[str]
    ) -> tuple[Document | None, dict[str, str]]:
        """Return the catalogue that a link leads to, unless it was seen."""
        where = absolute(href, base)
        if where in seen:
            return None, {}
        seen.add(where)
        try:
            found = self.read(href, base)
        except _BAD_LINK as error:
            return None, {href: reason(error)}
        if found.address != where and found.address in seen:
            return None, {}
        seen.add(found.address)
        if found.content.get("type") not in {"Catalog", "Collection"}:
            return None, {href: "it is no STAC catalogue or collection"}
        return found, {}


def items_in(document: Document) -> Found:
    """Return the items of a document that holds them: an item, or a collection of features."""
    content = document.content
    features = content.get("features") if content.get("type") == "FeatureCollection" else [content]
    return _page(document, features if isinstance(features, list) else [], _next(content, {}))


def search_link(root: Document, asked: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the link to the first page of a search at an API's landing page; None without one.

    Args:
        root: the landing page.
        asked: parameters of the search.
    """
    found = links(root.content, "search")
    gets = [link for link in found if str(link.get("method", "GET")).upper() == "GET"]
    return with_query(gets[0], asked) if gets else None


def with_query(link: Mapping[str, Any], asked: Mapping[str, str]) -> dict[str, Any]:
    """Return a link with further parameters."""
    href = str(link["href"])
    return {"href": f"{href}{'&' if '?' in href else '?'}{urlencode(asked)}"}


def links(content: Mapping[str, Any], relation: str) -> list[Mapping[str, Any]]:
    """Return the links of a document that have a relation and an address."""
    found = content.get("links")
    return [
        link
        for link in (found if isinstance(found, list) else ())
        if isinstance(link, dict) and link.get("rel") == relation and link.get("href")
    ]


def is_url(text: str) -> bool:
    """Tell whether a text is a http(s) URL."""
    return text.lower().startswith(("http://", "https://"))


def is_collection(content: Mapping[str, Any]) -> bool:
    """Tell whether a document is a collection with an id."""
    return content.get("type") == "Collection" and isinstance(content.get("id"), str)


def absolute(href: str, base: str) -> str:
    """Return an href that counts from an address or a path; blanks around it do not count."""
    href = href.strip()
    if is_url(base) or ":" in href.partition("/")[0]:
        return urljoin(base, href)
    try:
        return str(Path(base).parent.joinpath(href).resolve())
    except (OSError, RuntimeError, ValueError):  # no file can have that name; the gate says so
        return href


def reason(error: AssetForbidden | SourceUnreadable) -> str:
    """Return why something was left out, without the advice."""
    return error.reason if isinstance(error, SourceUnreadable) else str(error)


def _another(name: str, wanted: str) -> str:
    return (
        f"it is of collection {name!r}, and {wanted!r} is being ingested. Name its own document to "
        "ingest it"
    )


def _next(content: Mapping[str, Any], asked: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the link to the next page, whole: its body with the last one's where it says so."""
    for link in links(content, "next"):
        last, body = asked.get("body"), link.get("body")
        if link.get("merge") and isinstance(last, dict):
            return {**link, "body": {**last, **(body if isinstance(body, dict) else {})}}
        return link
    return None


def _page(page: Document, features: list[Any], following: Mapping[str, Any] | None) -> Found:
    good: list[Document] = []
    bad: dict[str, str] = {}
    for number, item in enumerate(features):
        if isinstance(item, dict):
            own = [str(link["href"]) for link in links(item, "self")]
            is_known = bool(own) and is_url(own[0]) and is_url(page.address)
            good.append(Document(own[0] if is_known else page.address, item))
        else:
            bad[f"{page.address}, feature {number}"] = "it is no JSON object"
    return Found(page.address, tuple(good), None, bad, following, _matched(page.content))


def _matched(content: Mapping[str, Any]) -> int:
    context = content.get("context")
    told = content.get("numberMatched", context.get("matched") if isinstance(context, dict) else 0)
    return told if type(told) is int and told > 0 else 0


def _object(
    content: bytes, name: str, kind: type[SourceUnreadable] = SourceUnreadable
) -> dict[str, Any]:
    """Read JSON; a list of items, or a line for each, is a collection of features.

    Raises:
        SourceUnreadable: it is none, or no object; the former as `kind`, for a server that was cut
            off may answer wholly later.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        document = _lines(content)
        if document is None:
            raise kind(name, "document", "it is no JSON", _WAY_OUT) from error
    if isinstance(document, list) and document and all(isinstance(one, dict) for one in document):
        return {"type": "FeatureCollection", "features": document}
    if not isinstance(document, dict):
        raise SourceUnreadable(name, "document", "it is no JSON object", _WAY_OUT)
    return document


def _lines(content: bytes) -> list[Any] | None:
    """Read a JSON document per line; None if a line is none."""
    try:
        return [json.loads(line) for line in content.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        return None
