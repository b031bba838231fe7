"""Open datasets, kept for the next read: one per file and overview level and thread at a time."""

from __future__ import annotations

import os
import re
import resource
import threading
import warnings
import weakref
from collections import OrderedDict
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from typing_extensions import override

from terrazzo.errors import SourceUnreadable
from terrazzo.spans import span
from terrazzo.storage.gate import SAFE_OPTIONS, refuse_redirect

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        """
        name = (asset.key, stamp, level)
        dataset = self._take(name)
        if dataset is None:
            with span("open"):
                dataset = open_dataset(asset, level)
            with self._lock:
                self.opened += 1
        try:
            yield dataset
        except BaseException:
            dataset.close()
            raise
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


def open_dataset(asset: AssetName, level: int = 0) -> Any:
    """Open a checked asset with its one driver and GDAL's configuration closed down.

    Raises:
        SourceUnreadable: GDAL's driver cannot read it; the reason holds no path.
    """
    options: dict[str, Any] = {"overview_level": level - 1} if level else {}
    try:
        if asset.is_remote:
            _refuse_redirect(asset)
        with gdal_environment():
            return _Dataset(asset.gdal, driver=asset.driver, **options)
    except NotGeoreferencedWarning:
        raise unreadable(asset, NO_GEOREFERENCE) from None
    except (RasterioError, OSError) as error:
        raise unreadable(asset, error) from None


@lru_cache(maxsize=4096)
def _refuse_redirect(asset: AssetName) -> None:
    """Ask once per process; only an answer without redirect is remembered."""
    refuse_redirect(asset)


def _most_open() -> int:
    """Return how many datasets to keep: at most a quarter of the files a process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_OPEN if soft == resource.RLIM_INFINITY else max(min(MOST_OPEN, soft // 4), 16)


class _Inside(threading.local):
    depth = 0


_inside = _Inside()


@contextmanager
def gdal_environment() -> Iterator[None]:
    """Set GDAL's configuration for a `with` block of this thread; 40 us, inside another 1 us."""
    if _inside.depth:
        yield
        return
    with rasterio.Env(session=None, **SAFE_OPTIONS):
        _inside.depth = 1
        try:
            yield
        finally:
            _inside.depth = 0


_REFUSALS = {
    "NoSuchKey": "there is no such object ({})",
    "NoSuchBucket": "there is no such bucket ({})",
    "ExpiredToken": "the credentials of the object store have expired ({}); set AWS_ACCESS_KEY_ID, "
    "AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN anew",
}
_NO_KEY = (
    "the object store refuses to give it ({}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to "
    "a key that may read it, or AWS_NO_SIGN_REQUEST=YES for public buckets"
)
_REFUSED = re.compile(
    r"NoSuchKey|NoSuchBucket|ExpiredToken|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch"
    r"|InvalidCredentials|HTTP response code: 403"
)
"""What object stores and GDAL say of a refusal."""


def _chain(problem: BaseException | None) -> str:
    """Return what an error and those that it came of say."""
    words = []
    while problem is not None:
        words.append(f"{type(problem).__name__}: {problem}")
        problem = problem.__cause__ or problem.__context__
    return " ".join(words)


def unreadable(asset: AssetName, problem: Exception | str) -> SourceUnreadable:
    """Make the error that names item and asset; GDAL's own words may hold the path, so go."""
    if isinstance(problem, str):
        return SourceUnreadable(asset.item, asset.asset, problem)
    if not asset.is_remote and not os.path.exists(asset.gdal):  # noqa: PTH110 - a name for GDAL
        reason = "the file is gone"
    elif asset.is_remote and not isinstance(problem, RasterioError):
        reason = f"its server does not answer ({type(problem).__name__})"
    elif asset.is_object and (refusal := _REFUSED.search(_chain(problem))):
        reason = _REFUSALS.get(refusal[0], _NO_KEY).format(refusal[0])
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


os.register_at_fork(after_in_child=_forget)
