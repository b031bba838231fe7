"""Ingestion: files become STAC items of one collection in the embedded catalogue.

An item is put into the catalogue when its files are whole, so that ingestion can be killed at
any moment and the same call completes it: what is there already, from the same content, is
kept, and of the rest nothing half-made is ever seen.
"""

from __future__ import annotations

import fcntl
import re
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from terrazzo.catalog import ItemNotFound, make_collection, read_bands
from terrazzo.catalog.tables import table_asset
from terrazzo.catalog.taken import CollectionExists
from terrazzo.drivers.ingestion import arrays
from terrazzo.drivers.ingestion.formats import FORMATS, ending, units_of
from terrazzo.drivers.ingestion.found import find_files
from terrazzo.drivers.ingestion.items import (
    COMMON_NAMES,
    Draft,
    FoundFile,
    Given,
    IngestOptions,
    IngestReport,
    Made,
    Period,
    Target,
)
from terrazzo.drivers.ingestion.kept import source_of, with_kept
from terrazzo.drivers.ingestion.missions import mission_in, with_mission
from terrazzo.drivers.ingestion.names import compile_pattern
from terrazzo.drivers.ingestion.raster import RasterFile, raster_drafts
from terrazzo.drivers.ingestion.remote import fetch, find_remote
from terrazzo.drivers.ingestion.vectors import VECTORS
from terrazzo.drivers.job import remember_root
from terrazzo.drivers.places import is_remote, remember_place
from terrazzo.errors import (
    ArgumentInvalid,
    AssetForbidden,
    CollectionNotFound,
    SourceUnreadable,
    TerrazzoError,
)
from terrazzo.geo.crs import crs_name
from terrazzo.progress import Cancelled, Progress
from terrazzo.storage.writers.files import output_failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from terrazzo.catalog import Catalog
    from terrazzo.drivers.ingestion.remote import RemoteFiles
    from terrazzo.drivers.job import Workspace
    from terrazzo.drivers.places import Place

In = TypeVar("In")
Out = TypeVar("Out")

__all__ = ["IngestOptions", "IngestReport", "ingest"]

_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,127}", re.ASCII)
_BATCH: Final = 500
"""Items that are put into the catalogue at once, at most."""
_PUT_AFTER_S: Final = 1.0
"""How long finished items wait for others; what waits is done again after a kill."""
_SHOWN: Final = 20
_OF_GEOMETRIES: Final = ("layer", "geometry", "id", "date", "encoding")
"""Options that images do not have."""
_BAD_FILE: Final = (SourceUnreadable, ArgumentInvalid, AssetForbidden)


def ingest(
    paths: Sequence[Path | str],
    collection: str,
    workspace: Workspace,
    *,
    options: IngestOptions | None = None,
    progress: Progress | None = None,
) -> IngestReport:
    """Take files into a collection, one item per date.

    NetCDF cubes are stored as one COG per band and date, so that a graph reads only the bands
    that it needs. GeoTIFFs are read where they are, or copied as COGs.

    Args:
        paths: files, or folders of such, searched recursively; and addresses of those:
            `s3://bucket/prefix`, or a file `https://host/path`.
        collection: id; the collection is made if it is not there.
        workspace: where catalogue and files are. Folders read in place are remembered there, so
            open it again by `Workspace.of` to read the items.
        options: how.
        progress: is told of files that are left out, and may cancel.

    Returns:
        How many items were made and kept, and which files were left out.

    Raises:
        ArgumentInvalid: a path, the id or an option is wrong, or another ingestion into the
            collection runs.
        NothingIngested: nothing at all could be taken in.
        OutputFailed: the disk is full or the workspace cannot be written; what is done is kept.
        Cancelled: raised by `progress`; what is done is kept.
    """
    chosen, shown = options or IngestOptions(), progress or Progress()
    _check(collection, chosen)
    pattern = compile_pattern(chosen.pattern)
    local = [Path(one) for one in paths if not is_remote(str(one))]
    found = find_files(local, besides=workspace.assets) if local or not paths else []
    named = [str(one) for one in paths if is_remote(str(one))]
    remote = find_remote(named, workspace, copy=chosen.copy)
    with ExitStack() as stack:
        if not chosen.dry_run:
            stack.enter_context(alone(workspace.assets, collection))
        catalog = None
        if not chosen.dry_run or workspace.has_catalog:
            catalog = stack.enter_context(workspace.catalog(create=not chosen.dry_run))
        pool = stack.enter_context(ThreadPoolExecutor(max(chosen.workers, 1)))
        stack.callback(pool.shutdown, cancel_futures=True)
        target = Target(collection, workspace.assets / collection, write=not chosen.dry_run)
        run = _Ingestion(workspace, catalog, target, chosen, shown, pool)
        found += run.fetch(remote)
        with shown:
            drafts = run.look(found, pattern)
        with shown:
            run.make(drafts)
        return run.finish()


def _check(collection: str, options: IngestOptions) -> None:
    """Refuse what cannot be right before anything is read.

    Raises:
        ArgumentInvalid: the id cannot name a folder and a URL, or an option states what is none.
    """
    check_id(collection)
    if options.datetime:
        Period.of(options.datetime)
    if options.crs:
        crs_name(options.crs)
    if options.platform and mission_in(options.platform) is None:
        raise ArgumentInvalid(
            f"--platform {options.platform!r} is none whose bands are known. Valid are "
            "sentinel-2 (and -2a to -2d) and landsat-4, -5, -7, -8 and -9; for others name the "
            "bands with --common-names."
        )
    wrong = [name for name in options.common_names.values() if name not in COMMON_NAMES]
    if wrong:
        raise ArgumentInvalid(
            f"--common-names: {wrong[0]!r} is none. Valid are {', '.join(sorted(COMMON_NAMES))}."
        )


def check_id(collection: str) -> None:
    """Refuse an id of a collection that cannot name a folder and a URL.

    Raises:
        ArgumentInvalid: says what can.
    """
    if not _ID.fullmatch(collection):
        raise ArgumentInvalid(
            f"--collection {collection!r} is no id. Valid are up to 128 letters, digits, '_', '-' "
            "and '.', beginning with a letter or digit, for example sentinel-2-l2a."
        )


@contextmanager
def alone(folder: Path, collection: str) -> Iterator[None]:
    """Hold the lock of a collection's files; the system frees it when the process dies.

    Raises:
        ArgumentInvalid: another process holds it.
        OutputFailed: the folder cannot be written.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context((folder / f".{collection}.lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArgumentInvalid(
                f"Another ingestion into {collection!r} is running. Wait until it is done."
            ) from None
        except OSError as error:
            raise output_failed(folder, error) from error
        yield


class NothingIngested(ArgumentInvalid):
    """No file could be taken in; says why of each, up to twenty."""

    def __init__(self, failed: Mapping[str, str]) -> None:
        self.failed = dict(failed)
        """Names of the files that were left out, and why."""
        lines = [f"  {name}: {reason}" for name, reason in list(failed.items())[:_SHOWN]]
        if len(failed) > _SHOWN:
            lines.append(f"  ... and {len(failed) - _SHOWN} more")
        super().__init__("Nothing was ingested:\n" + "\n".join(lines))


@dataclass(slots=True)
class _Ingestion:
    """One call of `ingest`: what it was given, and what has become of it so far."""

    workspace: Workspace
    catalog: Catalog | None
    target: Target
    options: IngestOptions
    progress: Progress
    pool: ThreadPoolExecutor
    made: int = 0
    kept: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    roots: dict[Path, None] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)
    waiting: list[dict[str, Any]] = field(default_factory=list)
    about: Mapping[str, Any] = field(default_factory=dict)
    """What all files say of a new collection."""
    begun: bool = False
    put_at: float = 0.0
    """When items are put into the catalogue next, though few wait, on the clock of `monotonic`."""
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sources: Mapping[str, bool] = field(default_factory=dict)
    """The files that were looked at, and whether each was left out."""

    def fetch(self, remote: RemoteFiles) -> list[FoundFile]:
        """Return what was found of buckets and hosts, once it is there or can be read there."""
        self.places = remote.places
        for name, reason in remote.refused.items():
            self._fail(name, reason)
        lost: Mapping[str, str] = {}
        if remote.needed and not self.options.dry_run:
            lost = fetch(remote, self.workspace.home, self.progress)
        elif remote.needed:
            lost = {
                one.name: "it would be fetched first, which --dry-run does not do"
                for one in remote.found
                if not one.address
            }
        for name, reason in lost.items():
            self._fail(name, reason)
        return [one for one in remote.found if one.name not in lost]

    def look(self, found: Sequence[FoundFile], pattern: re.Pattern[str] | None) -> list[Draft]:
        """Look at all files and return the items that they make."""
        found = self._of_one_kind(found)
        types = {band.name: band.dtype for band in read_bands(self._collection() or {})}
        one_cube = sum(FORMATS.get(ending(one.path)) is arrays.read for one in found) == 1
        given = Given(self.options, self.target, pattern, types, one_cube, self.workspace.roots)
        units = units_of(found, given)
        drafts: list[Draft] = []
        images: list[RasterFile] = []
        self.progress.start(len(units), "files")
        for _, parts in self._each(units, lambda one: one.read(), lambda one: one.name):
            images += [part for part in parts or () if isinstance(part, RasterFile)]
            drafts += [part for part in parts or () if isinstance(part, Draft)]
        for image in images:
            self._note(image.found.name, image.notes)
        grouped, misfits = raster_drafts(images, self.target)
        for name, reason in misfits.items():
            self._fail(name, reason)
        distinct = self._distinct([*drafts, *grouped])
        first = next(iter(distinct), None)
        self.about = {
            name: value
            for name, value in (first.about.items() if first else ())
            if all(one.about.get(name) == value for one in distinct)
        }
        failed = {text for name in self.failed for text in (name, name.rsplit(" [", 1)[0])}
        self.sources = {source_of(one): one.name in failed for one in found}
        return distinct

    def _of_one_kind(self, found: Sequence[FoundFile]) -> Sequence[FoundFile]:
        """Return the files of images, or those of geometries: what the collection holds.

        A new collection of both is one of images; what is passed over is noted.

        Raises:
            ArgumentInvalid: there are only files of the other kind.
        """
        vectors = [one for one in found if one.path.suffix.lower() in VECTORS]
        images = [one for one in found if one.path.suffix.lower() not in VECTORS]
        of_geometries = self._holds_geometries()
        if of_geometries is None:
            of_geometries = not images
        taken, others = (vectors, images) if of_geometries else (images, vectors)
        kind = "geometries" if of_geometries else "images"
        self._check_options(of_geometries=of_geometries)
        if not taken:
            raise ArgumentInvalid(
                f"Collection {self.target.collection!r} holds {kind}, and {others[0].name} is a "
                "file of the other kind. A collection holds images or geometries: name another "
                "one with --collection."
            )
        for one in others:
            name = self.target.collection
            text = f"passed over: {name!r} is a collection of {kind}. Ingest it into another one."
            self._note(one.name, [text])
        return taken

    def _check_options(self, *, of_geometries: bool) -> None:
        """Refuse options that files of the other kind have.

        Raises:
            ArgumentInvalid: names one.
        """
        names = ("bands", "copy") if of_geometries else _OF_GEOMETRIES
        given = [name for name in names if getattr(self.options, name)]
        if given:
            raise ArgumentInvalid(
                f"--{given[0]} is for {'images' if of_geometries else 'geometries'}, and what is "
                f"ingested are {'geometries' if of_geometries else 'images'}. Leave it out."
            )

    def _holds_geometries(self) -> bool | None:
        """Tell what the collection holds; None while it is empty."""
        if self.catalog is None or self._collection() is None:
            return None
        held = self.catalog.survey(self.target.collection)
        return held.of_geometries if held.count else None

    def _note(self, name: str, told: Iterable[str]) -> None:
        """Report something of a file that is no reason to leave it out."""
        for text in told:
            self.notes[name] = (*self.notes.get(name, ()), text)
            self.progress.note(f"{name}: {text}")

    def _distinct(self, drafts: Sequence[Draft]) -> list[Draft]:
        """Leave out items whose id another one has."""
        found: dict[str, Draft] = {}
        for draft in drafts:
            first = found.setdefault(draft.id, draft)
            if first is not draft:
                self._fail(
                    draft.source,
                    f"its item {draft.id!r} is made of {first.source} already. Tell them apart "
                    "with --pattern and a group (?P<item>...), or use two collections.",
                )
        return list(found.values())

    def make(self, drafts: Sequence[Draft]) -> None:
        """Make the items that are not there yet, and put them into the catalogue."""
        self.progress.start(len(drafts), "items")
        try:
            for draft, result in self._each(drafts, self._made, lambda one: one.source):
                if result is None:
                    continue
                item, is_new = result.item, result.wrote
                self._note(draft.source, result.notes)
                self.roots |= dict.fromkeys(draft.roots)
                self.made, self.kept = self.made + is_new, self.kept + (not is_new)
                if is_new and not self.options.dry_run:
                    self.waiting.append(item)
                if len(self.waiting) >= _BATCH or time.monotonic() > self.put_at:
                    self._put()
        finally:
            self._put()

    def _made(self, draft: Draft) -> Made:
        """Return an item; it counts as written if it was not there like this."""
        previous = self._item(draft.id)
        made = draft.make(previous)
        item, notes = made.item, made.notes
        if table_asset(item) is None:
            item = with_mission(item, self.options.platform or draft.source)
            item, kept = with_kept(item, previous, self.sources)
            notes += kept
        return Made(item, made.wrote or item != previous, notes)

    def _item(self, name: str) -> dict[str, Any] | None:
        if self.catalog is None:
            return None
        try:
            return self.catalog.item(self.target.collection, name)
        except (ItemNotFound, CollectionNotFound):
            return None

    def _collection(self) -> dict[str, Any] | None:
        if self.catalog is None:
            return None
        try:
            return self.catalog.collection(self.target.collection)
        except CollectionNotFound:
            return None

    def _put(self) -> None:
        """Put finished items into the catalogue, and first the collection and its folders."""
        if not self.waiting or self.catalog is None:
            return
        self._remember()
        if not self.begun:
            if self._collection() is None:
                with suppress(CollectionExists):
                    of_geometries = table_asset(self.waiting[0]) is not None
                    made = make_collection(
                        self.target.collection, dimensions={} if of_geometries else None
                    )
                    made |= {**self.about, **self._stated()}
                    self.catalog.put_collection(made, new=True)
            self.begun = True
        items, self.waiting = self.waiting, []
        self.catalog.put_items(items)
        self.put_at = time.monotonic() + _PUT_AFTER_S

    def _remember(self) -> None:
        """Let the files that are read in place be read from now on."""
        for root in self.roots:
            remember_root(self.workspace.home, root)
        for place in self.places.values():
            remember_place(self.workspace.home, place)

    def _stated(self) -> dict[str, str]:
        """Return what the user says of the collection."""
        told = {
            "title": self.options.title,
            "description": self.options.description or self.options.title,
            "license": self.options.license,
        }
        return {name: text for name, text in told.items() if text}

    def finish(self) -> IngestReport:
        """Say of the collection what the user says of it, and report.

        Raises:
            NothingIngested: nothing at all was taken in.
        """
        if not self.made + self.kept:
            raise NothingIngested(self.failed)
        name = self.target.collection
        collection = self._collection()
        if self.target.write and self.catalog is not None and collection is not None:
            self._remember()
            if collection | self._stated() != collection:
                self.catalog.change_collection(name, lambda found: found | self._stated())
        return IngestReport(
            name,
            self.made,
            self.kept,
            dict(self.failed),
            tuple(self.roots),
            self.options.dry_run,
            dict(self.notes),
        )

    def _fail(self, name: str, reason: str) -> None:
        """Leave out a file."""
        self.failed[name] = reason
        self.progress.note(f"left out {name}: {reason}")

    def _each(
        self,
        inputs: Sequence[In],
        work: Callable[[In], Out],
        name: Callable[[In], str],
    ) -> Iterator[tuple[In, Out | None]]:
        """Work on inputs in threads; yields in order, None for bad files, which are noted.

        At most twice as many are in hand as there are threads.
        """
        queue: deque[tuple[In, Future[Out]]] = deque()
        coming = iter(inputs)
        while True:
            while len(queue) < 2 * max(self.options.workers, 1):
                one = next(coming, None)
                if one is None:
                    break
                queue.append((one, self.pool.submit(work, one)))
            if not queue:
                return
            one, future = queue.popleft()
            result: Out | None = None
            try:
                result = future.result()
            except _BAD_FILE as error:
                self._fail(name(one), _reason(error))
            except (Cancelled, TerrazzoError):
                raise
            except Exception as error:  # noqa: BLE001 - one file must not end all the others
                self._fail(name(one), _fault(error))
            yield one, result
            self.progress.advance()


def _fault(error: Exception) -> str:
    """Say that a file was left out for what is wrong with us."""
    return f"this is a fault of Terrazzo ({type(error).__name__}: {error})"


def _reason(error: TerrazzoError) -> str:
    """Return why a file was left out, without advice that is for readers of items."""
    return error.reason if isinstance(error, SourceUnreadable) else str(error)
