"""Ingestion of STAC: items of an API, of a static catalogue or of a file, whose images stay there.

What is in the catalogue already and the same is kept. How far an ingestion came is noted beside the
catalogue after every page, so that one that was stopped goes on there; the note goes when it is
done, and the next ingestion looks at everything again and brings what is new or has changed.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from terrazzo.catalog import make_collection
from terrazzo.catalog.search import checked_query
from terrazzo.drivers.catalogue_files import Taking
from terrazzo.drivers.ingest import alone
from terrazzo.drivers.job import remember_root, remembered_roots
from terrazzo.drivers.stac_source import StacOptions, StacSource
from terrazzo.errors import ArgumentInvalid, CollectionNotFound, TerrazzoError
from terrazzo.progress import Progress
from terrazzo.storage.gate import Gate
from terrazzo.storage.stac_walk import Document, Found, StacReader, absolute, is_url, links
from terrazzo.storage.writers.files import output_failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from terrazzo.catalog.search import Query
    from terrazzo.drivers.job import Workspace

__all__ = ["StacOptions", "StacReport", "ingest_stac"]

VIA: Final = "via"
"""Relation of the link to where a document came from."""
_NAVIGATION: Final = frozenset({
    "self", "root", "parent", "collection", "item", "items", "child", "next", "prev", "first",
    "last", "data", "search", "queryables", "aggregate", "aggregations", "conformance",
    "http://www.opengis.net/def/rel/ogc/1.0/queryables",
})  # fmt: skip
_COMPUTED: Final = frozenset({
    "extent", "summaries", "cube:dimensions", "item_assets", "bands", "stac_extensions",
})  # fmt: skip
_INTERNAL: Final = "terrazzo:"
_PORTS: Final = ("80", "443")


@dataclass(frozen=True, slots=True)
class StacReport:
    """What an ingestion of STAC did."""

    collection: str
    """Id of the collection."""
    made: int
    """Items that are new or changed."""
    kept: int
    """Items that were there already, the same."""
    failed: Mapping[str, str]
    """Items, documents and files that were left out, and why."""
    hosts: tuple[str, ...] = ()
    """Hosts that the items' files are on and that may not be read yet, the most frequent first."""
    folders: tuple[Path, ...] = ()
    """Folders that the items' files are in and that may not be read yet."""

    @property
    def items(self) -> int:
        """Items that are in the catalogue from this ingestion."""
        return self.made + self.kept


def ingest_stac(
    address: str,
    collection: str,
    workspace: Workspace,
    *,
    options: StacOptions | None = None,
    progress: Progress | None = None,
    wait: Callable[[float], None] | None = None,
) -> StacReport:
    """Take the items of a STAC API, a static catalogue or a file into a collection.

    The images stay where they are. The collection takes over title, licence, providers and what
    else the one there says, unless it is here already from elsewhere.

    Args:
        address: URL of an API's landing page, or URL or path of a collection, a catalogue, an item
            or a feature collection of items.
        collection: id; the collection is made if it is not there.
        workspace: where the catalogue is. Its hosts and the one of `address` are asked, no other.
        options: which items.
        progress: counts items, is told of what is left out, and may cancel.
        wait: waits between tries, seconds; None sleeps.

    Raises:
        ArgumentInvalid: the address, the id or an option is wrong, another ingestion into the
            collection runs, or nothing at all could be taken in.
        AssetForbidden: the address, or a page that it leads to, is on a host that is not allowed.
        SourceUnreadable: the address, or a page that it leads to, gives no STAC after several
            tries; what is done is kept.
        OutputFailed: the workspace cannot be written; what is done is kept.
        Cancelled: raised by `progress`; what is done is kept.
    """
    chosen, shown = options or StacOptions(), progress or Progress()
    query = checked_query(
        bbox=chosen.bbox, intersects=None, interval=chosen.interval, ids=(), properties=(),
        condition=chosen.filter or None, sort="datetime", limit=chosen.limit,
    )  # fmt: skip
    if not is_url(address):
        address = str(Path(address).resolve())
        if not Path(address).is_file():
            raise ArgumentInvalid(f"There is no file {address}. Check the path, or name a URL.")
    reader = StacReader(_gate(address, workspace), wait or time.sleep)
    with ExitStack() as stack:
        stack.enter_context(alone(workspace.assets, collection))
        catalog = stack.enter_context(workspace.catalog(create=True))
        marks = _Marks.of(workspace.assets / f".{collection}.stac.jsonl", address, chosen)
        run = _Run(workspace, Taking(catalog, collection), query, chosen, shown, marks, address)
        with shown:
            shown.start(0, "items")
            source = StacSource(reader, chosen, collection)
            run.take(source.found(reader.read(address), marks.following, marks.base, marks.done))
        return run.report()


def _gate(address: str, workspace: Workspace) -> Gate:
    """Return what may be read: the user's own address, and what the workspace allows."""
    if not is_url(address):
        return Gate((Path(address).parent, *workspace.roots), workspace.hosts)
    parts = urlsplit(address)
    named = parts.netloc.lower()
    own = (f"{named}=127.0.0.1", f"{named}=::1") if parts.hostname == "localhost" else (named,)
    return Gate((), (*workspace.hosts, *own))


@dataclass(slots=True)
class _Marks:
    """How far an ingestion came: lines in a file, each written when its items are kept."""

    path: Path
    key: str
    following: dict[str, Any] | None = None
    """The page of an API to go on with."""
    base: str = ""
    """The address that its href counts from."""
    taken: int = 0
    """Items that the ingestions before had taken in."""
    done: set[str] = field(default_factory=set)
    """Addresses of items of a static catalogue."""

    @classmethod
    def of(cls, path: Path, address: str, options: StacOptions) -> _Marks:
        """Read what an ingestion of the same was at when it was stopped."""
        found = cls(path, json.dumps([address, repr(options)]))
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            return found
        for number, line in enumerate(lines):
            try:
                entry = json.loads(line or "null")
            except ValueError:
                continue  # of a process that was killed
            if number == 0 and entry != found.key:
                break
            if isinstance(entry, dict):
                found.taken = entry["taken"]
                found.following, found.base = entry.get("following"), entry.get("base", "")
                found.done.update(entry.get("done", ()))
        return found

    def add(self, entry: dict[str, Any], taken: int) -> None:
        """Note what is done.

        Raises:
            OutputFailed: the folder cannot be written.
        """
        begins = not (self.following or self.done or self.taken)
        self.taken += taken
        self.following, self.base = entry.get("following"), entry.get("base", "")
        self.done.update(entry.get("done", ()))
        head = f"{json.dumps(self.key)}\n" if begins else "\n"
        try:
            with self.path.open("w" if begins else "a", encoding="utf-8") as file:
                file.write(f"{head}{json.dumps(entry | {'taken': self.taken})}\n")
        except OSError as error:
            raise output_failed(self.path, error) from error

    def drop(self) -> None:
        """Forget: all is done."""
        self.path.unlink(missing_ok=True)


@dataclass(slots=True)
class _Run:
    """One call of `ingest_stac`: what it was given, and what has become of it so far."""

    workspace: Workspace
    taking: Taking
    query: Query
    options: StacOptions
    progress: Progress
    marks: _Marks
    address: str
    hosts: Counter[str] = field(default_factory=Counter)
    folders: Counter[Path] = field(default_factory=Counter)
    earlier: int = 0

    def take(self, parts: Iterator[Found]) -> None:
        """Take in items until there are no more, or enough.

        Raises:
            ArgumentInvalid: nothing at all could be taken in.
        """
        self.earlier = self.marks.taken
        self.progress.resume(self.earlier)
        is_open = False
        for found in parts:
            if found.anew:
                self.earlier = self.marks.taken = 0
            for name, why in found.bad.items():
                self.taking.fail(name, why, self.progress)
            if found.matched:
                self.progress.total = min(found.matched, self.options.limit or found.matched)
            if found.collection is not None:
                self._open(found.collection)
                is_open = True
            items = self._wanted(found)
            if items and not is_open:
                self._open(None)
                is_open = True
            self._put(items, found)
            if self._left() == 0:
                break
        if not self.taking.made + self.taking.kept + self.earlier and self.taking.failed:
            name, why = next(iter(self.taking.failed.items()))
            raise ArgumentInvalid(f"Nothing was ingested; the first reason: {name}: {why}.")
        self.marks.drop()

    def _left(self) -> int | None:
        """Return how many more items are wanted; None is any number."""
        limit = self.options.limit
        return None if limit is None else max(limit - self.marks.taken, 0)

    def _wanted(self, found: Found) -> list[dict[str, Any]]:
        """Return the items that are asked for, as they are kept here."""
        accepted = [one for one in found.items if _accepts(self.query, one.content)]
        items: list[dict[str, Any]] = []
        for one in accepted[: self._left()]:
            item, bad = item_here(one, self.taking.collection)
            for key, why in bad.items():
                self.taking.fail(f"{item.get('id')}, asset {key}", why, self.progress)
            self._look(item)
            items.append(item)
        return items

    def _put(self, items: Sequence[dict[str, Any]], found: Found) -> None:
        """Put items, and note how far we are."""
        if self.folders and not is_url(self.address):
            remember_root(self.workspace.home, Path(self.address).parent)
        self.taking.items(items, {}, self.progress)
        self.progress.total = max(self.progress.total, self.progress.done + len(items))
        self.progress.advance(len(items))
        if not found.items and found.following is None:
            return
        if found.following is not None:
            entry = {"following": found.following, "base": found.address}
            self.marks.add(entry, len(items))
        else:
            self.marks.add({"done": [one.address for one in found.items]}, len(items))

    def _open(self, document: Document | None) -> None:
        """Make the collection, or bring what it took over up to date."""
        catalog, name = self.taking.catalog, self.taking.collection
        told = {"title": self.options.title, "license": self.options.license}
        stated = {key: text for key, text in told.items() if text}
        fresh = collection_here(document, name) if document else make_collection(name)
        try:
            old = catalog.collection(name)
        except CollectionNotFound:
            catalog.put_collection(fresh | stated)
            return
        if document is None or _via(old) != document.address:
            fresh = {}
        kept = {key: value for key, value in fresh.items() if key not in _COMPUTED}
        if old | kept | stated != old:
            catalog.change_collection(name, lambda now: now | kept | stated)

    def _look(self, item: Mapping[str, Any]) -> None:
        """Count the hosts and folders of an item's files."""
        assets = item.get("assets")
        for asset in assets.values() if isinstance(assets, dict) else ():
            href = asset.get("href") if isinstance(asset, dict) else None
            if isinstance(href, str) and is_url(href):
                self.hosts[urlsplit(href).netloc.lower()] += 1
            elif isinstance(href, str) and ":" not in href:
                self.folders[Path(href).parent] += 1

    def report(self) -> StacReport:
        """Say what was done."""
        known = {entry.lower().partition("=")[0] for entry in self.workspace.hosts}
        hosts = [host for host, _ in self.hosts.most_common() if not _names(host) & known]
        roots = (self.workspace.home, *remembered_roots(self.workspace.home), *self.workspace.roots)
        folders = [
            folder
            for folder, _ in self.folders.most_common()
            if not any(folder.is_relative_to(root.resolve()) for root in roots)
        ]
        return StacReport(
            self.taking.collection,
            self.taking.made,
            self.taking.kept + self.earlier,
            dict(self.taking.failed),
            tuple(hosts),
            tuple(folders),
        )


def _names(host: str) -> set[str]:
    """Return what a list of allowed hosts may call a host: without the port if it is the usual."""
    name, _, port = host.rpartition(":")
    return {host, name} if port in _PORTS and name else {host, *(f"{host}:{p}" for p in _PORTS)}


def _accepts(query: Query, item: Mapping[str, Any]) -> bool:
    """Tell whether an item is asked for; a broken one is, so that it is told of."""
    try:
        return query.accepts(item)
    except (TerrazzoError, KeyError, TypeError, ValueError, AttributeError):
        return True


def item_here(found: Document, collection: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return an item as it is kept here, and assets that were left out with the reason.

    Its hrefs are absolute. What came over HTTP may not name files of this machine.
    """
    item = {key: v for key, v in found.content.items() if not key.startswith(_INTERNAL)}
    item["collection"] = collection
    bad: dict[str, str] = {}
    if isinstance(item.get("assets"), dict):
        assets: dict[str, Any] = {}
        for key, asset in item["assets"].items():
            if not isinstance(asset, dict) or not isinstance(asset.get("href"), str):
                assets[key] = asset
                continue
            href = absolute(asset["href"], found.address)
            if is_url(found.address) and href.lower().startswith("file:"):
                bad[key] = "it names a file of this machine"
                continue
            told = {name: v for name, v in asset.items() if not name.startswith(_INTERNAL)}
            assets[key] = told | {"href": href}
        item["assets"] = assets
    item["links"] = _links(found, {"rel": "collection", "href": f"../{collection}"})
    return item, bad


def collection_here(found: Document, collection: str) -> dict[str, Any]:
    """Return a collection as it is kept here."""
    document = {key: v for key, v in found.content.items() if not key.startswith(_INTERNAL)}
    document |= {"type": "Collection", "id": collection, "links": _links(found)}
    if isinstance(document.get("assets"), dict):
        document["assets"] = {
            key: asset | {"href": absolute(asset["href"], found.address)}
            for key, asset in document["assets"].items()
            if isinstance(asset, dict) and isinstance(asset.get("href"), str)
        }
    return document


def _links(found: Document, *more: dict[str, str]) -> list[dict[str, Any]]:
    """Return the links that are of use elsewhere, and one to where the document came from."""
    told = found.content.get("links")
    kept: list[dict[str, Any]] = [
        link | {"href": absolute(link["href"], found.address)}
        for link in (told if isinstance(told, list) else ())
        if isinstance(link, dict)
        and isinstance(link.get("href"), str)
        and link.get("rel") not in _NAVIGATION
        and not link["href"].strip().lower().startswith("file:")
    ]
    if is_url(found.address):
        kept = [{"rel": VIA, "href": found.address}, *kept]
    return [*more, *kept]


def _via(collection: Mapping[str, Any]) -> str:
    """Return where a collection came from."""
    return next((str(link["href"]) for link in links(collection, VIA)), "")
