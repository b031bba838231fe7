"""Open datasets, kept for the next read: one per file and overview level and thread at a time."""

from __future__ import annotations

import atexit
import os
import resource
import threading
import warnings
import weakref
from collections import OrderedDict
from contextlib import contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio._vsiopener import _opener_registration
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from typing_extensions import override

from terrazzo.errors import AssetForbidden, SourceUnreadable
from terrazzo.spans import span
from terrazzo.storage.closed_dataset import ClosedDataset
from terrazzo.storage.gate import SAFE_OPTIONS
from terrazzo.storage.remote.files import Opener, RemoteFile, version_of
from terrazzo.storage.remote.transport import RemoteFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextvars import Context

    from terrazzo.storage.gate import AssetName

# `describe` reports such files; catching warnings per call is not safe with threads.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

NO_GEOREFERENCE = (
    "it has no georeference, or ground control points only; give it one first, for example with "
    "`gdalwarp -t_srs EPSG:32633 in.tif out.tif`, or `gdal_edit -a_srs -a_ullr`"
)

MOST_OPEN = 512
"""Idle datasets that a pool keeps: 50 kB each, and a file descriptor."""

Handle = tuple[str, tuple[int, int], int]
"""(key of the asset, its stamp, level)."""


class HandlePool:
    """At most `limit` idle datasets; a dataset is used by one thread at a time.

    Without a limit it is `MOST_OPEN`, or less where the process may open only few files.

    The stamp (modification time and size) is part of the name: a file that was replaced is
    opened again. After a fork the child forgets the parent's datasets without closing them.
    """

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit or _most_open()
        self.opened = 0
        """Datasets opened so far."""
        self._start()
        _POOLS.add(self)

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._idle: OrderedDict[Handle, list[Any]] = OrderedDict()
        self._count = 0

    @property
    def idle(self) -> int:
        """Number of open datasets that wait for a read."""
        return self._count

    @contextmanager
    def lease(self, asset: AssetName, level: int, stamp: tuple[int, int]) -> Iterator[Any]:
        """Lend a dataset of an overview level (0 = full resolution) for the `with` block.

        A dataset during whose use anything was raised is closed rather than kept.

        Raises:
            SourceUnreadable: the file cannot be opened.
            RemoteFailed: what GDAL could not read could not be fetched.
        """
        name = (asset.key, stamp, level)
        closed = asset.closed_for is not None  # whose worker is for one read
        dataset = None if closed else self._take(name)
        if dataset is None:
            with span("open"):
                dataset = open_dataset(asset, level)
            with self._lock:
                self.opened += 1
        try:
            yield dataset
        except BaseException as error:
            dataset.close()
            if dataset.failure is not None and isinstance(error, RasterioError):
                raise dataset.failure from None
            if isinstance(error, CPLE_BaseError):  # damage that rasterio does not expect there
                raise unreadable(asset, error) from None
            raise
        if closed:
            dataset.close()
        else:
            self._give(name, dataset)

    def close(self) -> None:
        """Close the idle datasets."""
        with self._lock:
            idle, self._idle, self._count = self._idle, OrderedDict(), 0
        for datasets in idle.values():
            for dataset in datasets:
                dataset.close()

    def _take(self, name: Handle) -> Any | None:
        with self._lock:
            datasets = self._idle.get(name)
            if not datasets:
                return None
            self._count -= 1
            dataset = datasets.pop()
            if not datasets:
                del self._idle[name]
            return dataset

    def _give(self, name: Handle, dataset: Any) -> None:
        surplus = []
        with self._lock:
            self._idle.setdefault(name, []).append(dataset)
            self._idle.move_to_end(name)
            self._count += 1
            while self._count > self.limit:
                oldest = next(iter(self._idle))
                surplus.append(self._idle[oldest].pop())
                self._count -= 1
                if not self._idle[oldest]:
                    del self._idle[oldest]
        for old in surplus:
            old.close()


class _Dataset(DatasetReader):  # type: ignore[misc] # rasterio has no type information
    """A dataset that finds out its CRS when asked for: that takes ten times as long as the rest."""

    _is_open = False
    failure: RemoteFailed | None = None
    """Why a part of a remote file could not be fetched."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._is_open = True

    @property
    def crs(self) -> Any:
        """The coordinate reference system, found out anew each time."""
        return self.read_crs() if self._is_open else None

    @override
    def read_crs(self) -> Any:
        return super().read_crs() if self._is_open else None


class _RemoteDataset(_Dataset):
    """A dataset that reads a remote file through Python.

    rasterio keeps what GDAL reads from in a context variable only, so a dataset is opened and
    closed in one context, whichever threads do so, and closed before anything of it is gone.
    """

    def __init__(self, file: RemoteFile, context: Context, *arguments: Any, **options: Any) -> None:
        self._file, self._context = file, context
        super().__init__(*arguments, **options)

    @property
    @override
    def failure(self) -> RemoteFailed | None:  # type: ignore[override] # is asked for only
        """Why a part of the file could not be fetched."""
        return self._file.failure

    @override
    def close(self) -> None:
        self._context.run(super().close)

    def __del__(self) -> None:
        if self._is_open:
            self.close()

    @classmethod
    def of(cls, file: RemoteFile, context: Context, driver: str, options: dict[str, Any]) -> Any:
        """Open a remote file, in its context."""
        with _opener_registration("image", Opener(file, file.size)) as name:
            return cls(file, context, name, driver=driver, **options)


def open_dataset(asset: AssetName, level: int = 0) -> Any:
    """Open a checked asset with its one driver and GDAL's configuration closed down.

    Raises:
        SourceUnreadable: GDAL's driver cannot read it; the reason holds no path.
    """
    options: dict[str, Any] = {"overview_level": level - 1} if level else {}
    remote: RemoteFile | None = None
    try:
        if asset.address is None:
            with gdal_environment():
                return _Dataset(asset.gdal, driver=asset.driver, **options)
        remote, context = RemoteFile(asset.address, version_of(asset.address)), copy_context()
        if asset.closed_for is not None:
            return ClosedDataset(remote, asset.driver, level, asset.closed_for)
        with gdal_environment():
            return context.run(_RemoteDataset.of, remote, context, asset.driver, options)
    except NotGeoreferencedWarning:
        raise unreadable(asset, NO_GEOREFERENCE) from None
    except (RasterioError, OSError) as error:
        failure = error if remote is None else remote.failure or error
        if isinstance(failure, RemoteFailed) and failure.redirected and not failure.code:
            raise AssetForbidden(
                f"Item {asset.item!r}, asset {asset.asset!r}: {failure.reason}."
            ) from None
        raise unreadable(asset, failure) from None


def _most_open() -> int:
    """Return how many datasets to keep: at most a quarter of the files a process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_OPEN if soft == resource.RLIM_INFINITY else max(min(MOST_OPEN, soft // 4), 16)


class _Inside(threading.local):
    depth = 0


_inside = _Inside()


@contextmanager
def gdal_environment(*, ranges: bool = False) -> Iterator[None]:
    """Set GDAL's configuration for a `with` block of this thread; 40 us, inside another 1 us.

    With `ranges` GDAL asks for all that it needs of a TIFF at once, which is for remote files.
    """
    if _inside.depth:
        yield
        return
    more = {"GTIFF_HAS_OPTIMIZED_READ_MULTI_RANGE": "YES"} if ranges else {}
    with rasterio.Env(session=None, **(SAFE_OPTIONS | more)):
        _inside.depth = 1
        try:
            yield
        finally:
            _inside.depth = 0


def unreadable(asset: AssetName, problem: Exception | str) -> SourceUnreadable:
    """Make the error that names item and asset; GDAL's own words may hold the path, so go."""
    if isinstance(problem, str):
        return SourceUnreadable(asset.item, asset.asset, problem)
    if isinstance(problem, RemoteFailed):
        reason = problem.reason
    elif not asset.is_remote and not os.path.exists(asset.gdal):  # noqa: PTH110 - a name for GDAL
        reason = "the file is gone"
    else:
        words = str(problem).replace(asset.gdal, "the file")
        words = words.replace(asset.gdal.rsplit("/", 1)[-1], "the file").strip(" .'\"")
        bad = "/" in words or not words
        kind = {"GTiff": "GeoTIFF", "JP2OpenJPEG": "JPEG 2000"}.get(asset.driver, asset.driver)
        reason = f"it is no readable {kind}: damaged, cut short, or another format" + (
            "" if bad else f" ({words[:160]})"
        )
    return SourceUnreadable(asset.item, asset.asset, reason)


_POOLS: weakref.WeakSet[HandlePool] = weakref.WeakSet()
_PARENTS: list[object] = []


def _forget() -> None:
    """In a forked child: keep the parent's datasets alive for ever rather than close them."""
    for pool in list(_POOLS):
        _PARENTS.append(pool._idle)  # noqa: SLF001 - its own module
        pool._start()  # noqa: SLF001 - its own module


def _close_all() -> None:
    """At exit: a dataset is closed by Python code of ours, which is gone soon."""
    for pool in list(_POOLS):
        pool.close()


os.register_at_fork(after_in_child=_forget)
atexit.register(_close_all)
