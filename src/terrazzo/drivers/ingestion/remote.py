"""Finding what can be taken in of buckets and hosts, and fetching what cannot be read there.

Images are read where they are. All else is fetched into the workspace first and is then taken in
as if it lay in a folder: arrays, geometries, and products, whose metadata are read with them.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from terrazzo.drivers.ingestion.formats import FOLDERS, FORMATS, NAMED
from terrazzo.drivers.ingestion.items import FoundFile
from terrazzo.drivers.places import Place, gate_of
from terrazzo.errors import ArgumentInvalid, AssetForbidden, RemoteUnusable
from terrazzo.storage.remote.files import version_of
from terrazzo.storage.remote.objects import Bucket, fetch_whole
from terrazzo.storage.remote.transport import RemoteFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from terrazzo.drivers.job import Workspace
    from terrazzo.progress import Progress
    from terrazzo.storage.gate import Gate
    from terrazzo.storage.remote.objects import Listed
    from terrazzo.storage.remote.transport import Address

FETCHED: Final = "fetched"
"""Folder of the workspace for what is fetched."""
AT_ONCE: Final = 4
"""Files that are fetched at a time."""
_IMAGES: Final = frozenset({".tif", ".tiff", ".gtiff", ".jp2", ".j2k"})
_PRODUCT: Final = re.compile(r".*\.(SAFE|SEN3)", re.IGNORECASE)
_LANDSAT: Final = re.compile(r".*_MTL\.(txt|xml|json)", re.IGNORECASE)
_COMPANIONS: Final = {".shp": (".shx", ".dbf", ".prj", ".cpg")}
_MEGABYTE: Final = 1_000_000


@dataclass(slots=True)
class RemoteFiles:
    """What was found of buckets and hosts."""

    found: list[FoundFile] = field(default_factory=list)
    """To be taken in; those that are fetched are not yet there."""
    needed: dict[Path, tuple[Address, int]] = field(default_factory=dict)
    """What is fetched: where it goes, where it is, and its bytes."""
    refused: dict[str, str] = field(default_factory=dict)
    """Names of what cannot be taken in, and why."""
    places: dict[str, Place] = field(default_factory=dict)
    """Where images are read in place, by address."""


def find_remote(addresses: Sequence[str], workspace: Workspace, *, copy: bool) -> RemoteFiles:
    """Look at buckets and hosts for what can be taken in.

    Args:
        addresses: `s3://bucket/prefix`, an object, or a file `https://host/path/file.tif`.
        workspace: what is fetched goes there.
        copy: whether images are copied, so that their places need not be remembered.

    Raises:
        ArgumentInvalid: an address is none, or there is nothing that can be taken in.
        AssetForbidden: a host's name leads to an address that is not public.
        RemoteUnusable: a bucket or host does not answer as it should.
    """
    files = RemoteFiles()
    for address in addresses:
        place = Place.of(address)
        gate = gate_of((), workspace.hosts, (place,))
        folder = workspace.home / FETCHED
        if place.store is None:
            url = urlsplit(place.url)
            keys = {unquote(url.path).lstrip("/"): -1}
            ground = _Ground(place, gate, keys, folder / url.netloc)
        else:
            keys = {one.key: one.size for one in _listed(place)}
            ground = _Ground(place, gate, keys, folder / place.bucket)
        before = len(files.found) + len(files.refused)
        if keys:
            ground.sort(files)
        if len(files.found) + len(files.refused) == before:
            raise ArgumentInvalid(
                f"There is nothing to ingest in {place.url}. Name files or folders of files that "
                f"end in {' '.join(sorted(FORMATS))}."
            )
        if not copy and any(one.via is gate for one in files.found):
            files.places[place.url] = place
    return files


def _listed(place: Place) -> Iterator[Listed]:
    """Yield the object of a place, or those below it.

    Raises:
        RemoteUnusable: the store does not tell.
    """
    if place.store is None:
        return
    bucket = Bucket(place.bucket, place.store)
    try:
        bucket.check()
        single = bucket.listed_as(place.key) if _ending(place.key) else None
        if single is not None:
            yield single
            return
        yield from bucket.listed(place.key)
    except RemoteFailed as error:
        raise RemoteUnusable(f"{place.url} cannot be read: {error.reason}.") from None


def _ending(name: str) -> str:
    """Return the ending by which formats know a file; empty where none does."""
    lowered = name.lower()
    known = [one for one in (*FORMATS, *NAMED) if lowered.endswith(one)]
    return max(known, key=len, default="")


@dataclass(frozen=True, slots=True)
class _Ground:
    """A place that was named, and what is there."""

    place: Place
    gate: Gate
    keys: Mapping[str, int]
    """Keys (of hosts: the path) and bytes; -1 where those are not known yet."""
    folder: Path
    """Where what is fetched goes, by key."""

    @property
    def root(self) -> str:
        """The key of the folder that names count from."""
        key = self.place.key if self.place.store is not None else next(iter(self.keys))
        return key.rpartition("/")[0] if key in self.keys else key

    def name(self, key: str) -> str:
        """Return what a key is called."""
        return key[len(self.root) :].lstrip("/")

    def sort(self, files: RemoteFiles) -> None:
        """Part what is read in place from what is fetched.

        Raises:
            AssetForbidden: a host's name leads to an address that is not public.
        """
        landsat = {key.rpartition("/")[0] for key in self.keys if _LANDSAT.fullmatch(key)}
        for key in self.keys:
            folders = key.split("/")[:-1]
            product = "/".join(folders) in landsat or any(map(_PRODUCT.fullmatch, folders))
            try:
                self._take(key, files, product=product)
            except AssetForbidden as error:
                if self.place.store is None:
                    raise
                files.refused[self.name(key)] = str(error)

    def _take(self, key: str, files: RemoteFiles, *, product: bool) -> None:
        path, ending = PurePosixPath(key), _ending(key)
        store = _folder_of(path)
        whole = product or store is not None or _is_companion(path, self.keys)
        if not ending and not whole:
            if self.place.store is None:
                known = " ".join(sorted(FORMATS))
                files.refused[self.name(key)] = f"it ends in none of {known}."
            return
        if ending == ".vrt" and not product:
            files.refused[self.name(key)] = "a VRT names further files: ingest it from a folder."
            return
        href = self.place.url if self.place.store is None else f"s3://{self.place.bucket}/{key}"
        address = self.gate.remote(href)
        root = self.folder / self.root
        named = key == self.place.key
        if ending in _IMAGES and not whole:
            name = self.name(key)
            files.found.append(FoundFile(self.folder / key, name, root, named, href, self.gate))
            return
        files.needed[self.folder / key] = address, self.keys[key]
        if store is not None:
            file = self.folder / store
            if not any(one.path == file for one in files.found[-1:]):
                name = self.name(str(store)) or store.name
                files.found.append(FoundFile(file, name, root, named=True))
        elif ending:
            files.found.append(FoundFile(self.folder / key, self.name(key), root, named))


def _folder_of(path: PurePosixPath) -> PurePosixPath | None:
    """Return the folder that is one thing and that an object lies in; None if in none."""
    for parent in reversed(path.parents):
        if parent.suffix.lower() in FOLDERS:
            return parent
    return None


def _is_companion(path: PurePosixPath, keys: Iterable[str]) -> bool:
    """Tell whether an object belongs to a file of several."""
    return any(
        path.suffix.lower() in others and str(path.with_suffix(main)) in keys
        for main, others in _COMPANIONS.items()
    )


def fetch(files: RemoteFiles, home: Path, progress: Progress) -> dict[str, str]:
    """Fetch what cannot be read where it is; what is there already is kept.

    Returns:
        Names of files that could not be fetched, and why.

    Raises:
        OutputFailed: the disk is full; what was fetched is gone on with.
        Cancelled: raised by `progress`, likewise.
    """
    state = home / FETCHED / ".state"
    failed: dict[str, str] = {}
    try:
        total = sum(
            size if size >= 0 else version_of(address).size
            for address, size in files.needed.values()
        )
    except RemoteFailed as error:
        return {files.found[0].name: error.reason}
    done = [0]

    def one(path: Path, address: Address) -> RemoteFailed | None:
        def count(size: int) -> None:
            done[0] += size

        try:
            fetch_whole(address, path, state, fetched=count)
        except RemoteFailed as error:
            return error
        return None

    pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch")
    with progress:
        progress.start(-(-total // _MEGABYTE), "MB fetched")
        try:
            work = {
                path: pool.submit(one, path, address) for path, (address, _) in files.needed.items()
            }
            for path, future in work.items():
                broken = future.result()
                if broken is not None:
                    failed[_name_of(path, files)] = broken.reason
                step = -(-done[0] // _MEGABYTE) - progress.done
                if step > 0:
                    progress.advance(step)
        finally:
            pool.shutdown(cancel_futures=True)
    return failed


def _name_of(path: Path, files: RemoteFiles) -> str:
    """Return the file that something fetched belongs to."""
    return next(
        (one.name for one in files.found if path == one.path or one.path in path.parents),
        path.name,
    )
