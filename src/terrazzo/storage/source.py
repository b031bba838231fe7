"""Images as a source: (t, bands, y, x) on any grid, read where and as finely as asked."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from terrazzo.cube import BandFacts, Cube, Dimension, Kind, Plane, empty_cube
from terrazzo.cube.pixels import compute_dtype, is_all_valid
from terrazzo.cube.warp import warp
from terrazzo.errors import BandNotFound, NoDataAvailable, SourceUnreadable, TerrazzoError
from terrazzo.geo.grid import Window
from terrazzo.geo.pixelmap import Lookup
from terrazzo.storage.fetching import SHARE_AHEAD, ahead, side_by_side
from terrazzo.storage.gathered import Gathering
from terrazzo.storage.handles import unreadable
from terrazzo.storage.headers import HeaderOutdated
from terrazzo.storage.output import Output, to_physical
from terrazzo.storage.parts import Part, Placed, nodata_of, parts_of
from terrazzo.storage.price import cost_of
from terrazzo.storage.raster import RasterReader, default_reader, marker
from terrazzo.storage.scenes import AssetBand, SceneItem
from terrazzo.storage.shelf import Completed
from terrazzo.storage.target import Target, reach_of
from terrazzo.storage.tiles import MASK
from terrazzo.storage.versions import version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from terrazzo.cube import Label, Mask, ReadCost, Values
    from terrazzo.geo.grid import Grid
    from terrazzo.storage.gathered import Scenes
    from terrazzo.storage.raster import Image, Stored
    from terrazzo.storage.shelf import LookUp

    T = TypeVar("T")
    R = TypeVar("R")
    Run = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
    OnBad = Callable[[SourceUnreadable], None]
    Items = Sequence[SceneItem]

__all__ = ["AssetBand", "RasterSource", "SceneItem"]


@dataclass(frozen=True, slots=True, eq=False)
class RasterSource:
    """Images of one collection as a cube; pure, for many threads, can be pickled.

    A time label is one solar day: of its items, in the order (time, id), the first valid pixel
    wins, band by band. Numbers become physical values by scale and offset of the item's own
    band before they are resampled.
    """

    grid: Grid
    """The native grid, over all that the items cover."""
    bands: tuple[str, ...]
    """Band labels."""
    scenes: Scenes
    """The items of each time label."""
    dtype: np.dtype[Any]
    """Common type of the physical values of all bands."""
    reader: RasterReader = field(default_factory=default_reader)
    """What reads files; the process-wide one in another process."""
    on_bad: OnBad | None = None
    """Told once per item that cannot be read, which is then no-data; None = raise."""
    run: Run | None = None
    """How the files of one read are run: `map`, or a thread pool's `map`; None = remote ones side
    by side, local ones one after the other."""
    exact: bool = False
    """Whether `read` and `planes` project every pixel, see `exactly`."""
    facts: Mapping[Label, BandFacts] = field(default_factory=dict)
    """What is known of bands beside their names, by label."""
    _reported: dict[str, SourceUnreadable] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        items: Iterable[SceneItem],
        bands: Sequence[str],
        *,
        reader: RasterReader | None = None,
        on_bad: OnBad | None = None,
        run: Run | None = None,
        facts: Mapping[Label, BandFacts] | None = None,
        look_up: LookUp | None = None,
    ) -> RasterSource:
        """Make a source; files are opened only for facts that the items lack.

        Args:
            items: taken one by one.
            bands: their names.
            reader: what reads files.
            on_bad: see the fields.
            run: see the fields.
            facts: see the fields.
            look_up: finds items again, so that few of very many are kept.

        Raises:
            NoDataAvailable: there is no item.
            BandNotFound: no item has the band.
            SourceUnreadable: nothing says what the bands look like.
        """
        names, reader = tuple(bands), reader or default_reader()
        again = None if look_up is None else Completed(look_up, names, reader)
        gathering = Gathering(names, reader, again)
        for item in items:
            gathering.add(item)
        scenes, grid = gathering.done()
        if not scenes.ids:
            raise NoDataAvailable(
                "No item lies in the extent and period. Widen them, or look at what there is "
                "with `terrazzo search`."
            )
        for name in names:
            if name not in gathering.bands:
                raise BandNotFound(name, tuple(gathering.bands))
        if grid is None or not gathering.types:
            if on_bad is None and gathering.example is not None:
                reader.describe(gathering.example.asset)
            raise SourceUnreadable(scenes.ids[0], names[0], "no file of the collection is readable")
        dtype, known = np.result_type(*gathering.types), dict(facts or {})
        return cls(grid, names, scenes, dtype, reader, on_bad, run, facts=known)

    @property
    def probe(self) -> Cube:
        """All labels and no pixels, on the native grid."""
        return empty_cube(
            self._dimensions(self.scenes.labels, self.bands),
            self.dtype,
            self.grid,
            Window(0, 0, 0, 0),
        )

    @property
    def extent(self) -> Window:
        """The window of the native grid that holds data."""
        return self.grid.window

    @property
    def items(self) -> Sequence[str]:
        """Ids of the items, in reading order: the provenance of what is made of them."""
        return self.scenes.ids

    def items_of(self, labels: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
        """Return the ids of the items of some labels, in reading order."""
        return self.scenes.ids_of(self._chosen(labels)[0])

    def items_near(
        self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]]
    ) -> tuple[str, ...]:
        """Return the ids of the items that may have pixels in a window, in reading order."""
        places = self.scenes.places(reach_of(grid, window), self._times(labels))
        return tuple(self.scenes.ids[place] for place in places.tolist())

    def near(
        self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]]
    ) -> tuple[tuple[SceneItem, ...], ...]:
        """Return, for each label, the items that may have pixels in a window.

        Raises:
            SourceUnreadable: one was deleted from the catalogue, and nobody is told of it.
        """
        times, _ = self._chosen(labels)
        return self.scenes.near(reach_of(grid, window), times, self._report)

    def version(self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]]) -> str:
        """Digest of the items that a window touches: files, sizes, times of change, scaling."""
        reach = reach_of(grid, window)
        places = self.scenes.places(reach, self._times(labels))
        return version_of(self.scenes, places, self.bands, self._bands(labels), self._report)

    def cost(
        self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]], method: str
    ) -> ReadCost:
        """Say what `read` would cost, from what the items say of themselves; opens nothing."""
        reach = reach_of(grid, window)
        places, unknown = self.scenes.places(reach, self._times(labels)), (self.grid, self.dtype)
        return cost_of(self.scenes, places, self._bands(labels), reach, method, unknown)

    @property
    def bad_items(self) -> tuple[str, ...]:
        """Ids of the items that could not be read so far, and were left out."""
        return tuple(sorted(self._reported))

    @property
    def bad(self) -> tuple[SourceUnreadable, ...]:
        """Items that could not be read so far and were left out, with the reason."""
        return tuple(self._reported.values())

    def read(
        self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]], method: str
    ) -> Cube:
        """Read a window of any grid; see `Source.read`.

        Raises:
            SourceUnreadable: a file is corrupt, truncated or gone, and nobody is told of it.
            ArgumentInvalid: no such resampling method.
        """
        times, names = self._chosen(labels)
        out = Output.of(len(times), len(names), window, self.dtype)
        if out.values.size:
            target = Target(grid, window, method, self.exact)
            self._fill(out, self.near(grid, window, labels), names, target, self.run)
        dimensions = self._dimensions([self.scenes.labels[at] for at in times], names)
        return Cube(out.values, out.validity(), dimensions, grid, window)

    def planes(
        self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]]
    ) -> tuple[Plane | None, ...]:
        """Read nearest neighbours as stored numbers; see `PlaneSource.planes`.

        Raises:
            SourceUnreadable: a file is corrupt, truncated or gone, and nobody is told of it.
        """
        times, names = self._chosen(labels)
        if window.is_empty:
            return (None,) * (len(times) * len(names))
        groups = self.near(grid, window, labels)
        target = Target(grid, window, "near", self.exact)
        while True:
            try:
                return self._planes(groups, names, target)
            except HeaderOutdated:
                continue  # one more file has been described anew

    def exactly(self) -> RasterSource:
        """Return the source that projects every pixel on its own; see `ExactSource`.

        What was found out about the images so far, and what is from now on, is shared.
        """
        return replace(self, exact=True)

    def prefetch(
        self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]], method: str
    ) -> None:
        """Begin to fetch remote files into the cache; see `PrefetchSource.prefetch`.

        Nothing is done for local files, for which it does not pay.
        """
        if window.is_empty or not self.scenes.is_remote:
            return
        target = Target(grid, window, method)  # interpolated: a pixel missed is fetched by the read
        ahead(partial(self._fetch, labels, target))

    def _chosen(
        self, labels: Mapping[str, tuple[int, ...]]
    ) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """Return positions of time labels, and names of bands."""
        return self._times(labels), tuple(self.bands[i] for i in self._bands(labels))

    def _times(self, labels: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
        return labels.get("t", self.scenes.all)

    def _bands(self, labels: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
        return labels.get("bands", tuple(range(len(self.bands))))

    def _dimensions(self, times: Sequence[str], bands: Sequence[str]) -> tuple[Dimension, ...]:
        return (
            Dimension("t", Kind.TEMPORAL, tuple(times)),
            Dimension("bands", Kind.BANDS, tuple(bands), self.facts),
            Dimension("y", Kind.SPATIAL),
            Dimension("x", Kind.SPATIAL),
        )

    def _each(
        self, work: Callable[[T], R], things: Sequence[T], remote: bool, run: Run | None
    ) -> Iterable[R]:
        """Yield `work` of each thing in order; remote files are waited for side by side."""
        if run is not None:
            return run(work, things)
        return side_by_side(work, things) if remote and len(things) > 1 else map(work, things)

    def _fill(
        self,
        out: Output,
        groups: Sequence[Items],
        names: Sequence[str],
        target: Target,
        run: Run | None,
    ) -> None:
        """Fill each label with the first valid pixel of its items.

        The first items of all labels are read, then the second ones of labels that are not full
        yet, and so on.
        """
        for turn in range(max(map(len, groups), default=0)):
            parts = [
                part
                for label, items in enumerate(groups)
                if turn < len(items) and not out.is_full(label)
                for part in parts_of(label, items[turn], names, target)
            ]
            remote = any(part.asset.is_remote for part in parts)
            work = partial(self._read_part, target)
            for part, layers in zip(parts, self._each(work, parts, remote, run), strict=True):
                for (at, _), layer in zip(part.places, layers, strict=False):
                    out.put(part.label, at, *layer)

    def _read_part(
        self, target: Target, part: Part
    ) -> Sequence[tuple[Values, Mask, AssetBand | None]]:
        """Return for each band (y, x) of a file on the target; none where it has nothing.

        With each goes its mask, and the band where the numbers are still to become physical.
        """
        while True:
            try:
                return self._warped(target, part)
            except HeaderOutdated:
                continue  # the file has been described anew
            except SourceUnreadable as error:
                self._report(error)
                return ()

    def _warped(
        self, target: Target, part: Part
    ) -> Sequence[tuple[Values, Mask, AssetBand | None]]:
        bands = [band for _, band in part.places]
        image = self._image(part)
        level = target.level(image.info.grid, image.info.overviews)
        pixel_map, scale, needed = target.map_to(image.lattice(level))
        if needed.is_empty:
            return ()
        values, valid = image.read(
            level,
            [band.index for band in bands],
            needed,
            nodata=[nodata_of(image.info, band) for band in bands],
            on_bad=self._report if self.on_bad is not None else None,
        )
        method = target.method
        # Picked pixels are the same whether they are scaled before or after; and fewer after.
        picked = method == "near" or (pixel_map.coincident and method != "rms")
        if not picked:
            found = np.empty(values.shape, self.dtype)
            for numbers, band, room in zip(values, bands, found, strict=True):
                to_physical(numbers, band, room)
            values = found
        values, valid = warp(values, valid, needed, pixel_map, method, scale)
        return [(values[at], valid[at], band if picked else None) for at, band in enumerate(bands)]

    def _image(self, part: Part) -> Image:
        """Return a file as it is now; it has all the bands that its item says."""
        (_, first), *_ = part.places
        image = self.reader.image(part.asset, first.header)
        count = len(image.info.dtypes)
        if max(band.index for _, band in part.places) > count:
            raise unreadable(part.asset, f"it has {count} bands, fewer than its item says")
        return image

    def _planes(
        self, groups: Sequence[Items], names: Sequence[str], target: Target
    ) -> tuple[Plane | None, ...]:
        parts = [
            part
            for label, items in enumerate(groups)
            for item in items
            for part in parts_of(label, item, names, target)
        ]
        remote = any(part.asset.is_remote for part in parts)
        found: list[list[Placed]] = [[] for _ in range(len(groups) * len(names))]
        work = partial(self._place, target)
        for part, placed in zip(parts, self._each(work, parts, remote, self.run), strict=True):
            for (at, _), one in zip(part.places, placed, strict=False):
                found[part.label * len(names) + at].append(one)
        layers = [
            (items, name, found[label * len(names) + at])
            for label, items in enumerate(groups)
            for at, name in enumerate(names)
        ]

        def plane(layer: tuple[Items, str, Sequence[Placed]]) -> Plane | None:
            return self._plane(*layer, target)

        return tuple(self._each(plane, layers, remote, self.run))

    def _place(self, target: Target, part: Part) -> tuple[Placed, ...]:
        """Return where the nearest pixels of a file's bands are; empty where it has none."""
        try:
            image = self._image(part)
            info = image.info
            level = target.level(info.grid, info.overviews)
            lattice = image.lattice(level)
        except SourceUnreadable as error:
            self._report(error)
            return ()
        lookup = target.lookup(lattice)
        if lookup.window.is_empty:
            return ()
        placed = []
        for _, band in part.places:
            nodata = marker(info.dtype, nodata_of(info, band))
            kind = lattice, info.dtype, str(nodata), band.scale, band.offset
            placed.append(Placed(image, band, level, lookup, nodata, kind))
        return tuple(placed)

    def _plane(
        self, items: Items, name: str, parts: Sequence[Placed], target: Target
    ) -> Plane | None:
        """Return the plane of one label and band, of the images that have something to give."""
        if not parts:
            return None
        first = parts[0]
        stated = compute_dtype(first.kind[1]) if first.band.is_scaled else first.kind[1]
        fits = np.result_type(stated, self.dtype) == self.dtype
        if not fits or any(part.kind != first.kind for part in parts):
            return self._physical_plane(items, name, target)
        stored: Stored | None = None
        for part in parts:
            if stored is not None and is_all_valid(stored.validity()):
                break
            one = self._stored(part)
            if one is not None:
                stored = one if stored is None else stored.over(one)
        if stored is None:
            return None
        numbers, band = stored.numbers, first.band
        how = stored.nodata, band.scale, band.offset, band.is_scaled
        return Plane(numbers, first.lookup, *how, stored.valid)

    def _stored(self, part: Placed) -> Stored | None:
        try:
            (stored,) = part.image.stored(
                part.level,
                (part.band.index,),
                part.lookup.window,
                nodata=(part.nodata,),
                on_bad=self._report if self.on_bad is not None else None,
            )
        except SourceUnreadable as error:
            self._report(error)
            return None
        return stored

    def _physical_plane(self, items: Items, name: str, target: Target) -> Plane | None:
        """Return physical values on the target, where images differ too much to be one."""
        out = Output.of(1, 1, target.window, self.dtype)
        self._fill(out, (items,), (name,), target, map)
        valid = out.validity()[0, 0]
        values = out.values[0, 0]
        values.flags.writeable = False
        rows, cols = (np.arange(size, dtype=np.int32) for size in values.shape)
        lookup = Lookup(target.window, rows, cols, np.zeros((0, 0), np.int32), direct=True)
        mask = None if is_all_valid(valid) else valid
        return Plane(values, lookup, None, 1.0, 0.0, scaled=False, valid=mask)

    def _fetch(self, labels: Mapping[str, tuple[int, ...]], target: Target) -> None:
        """Fetch remote files into the cache, at most a share of it."""
        room = self.reader.cache.max_bytes // SHARE_AHEAD
        lock = threading.Lock()

        def fetch(part: Part) -> None:
            nonlocal room
            try:
                image = self._image(part)
                level = target.level(image.info.grid, image.info.overviews)
                needed = image.turned(level, target.needed(image.lattice(level)))
                if needed.is_empty:
                    return
                tiles = image.tiles(level)
                bands = [[band.index for _, band in part.places]]
                for wanted in [*bands, [MASK]] if image.size(level).masked else bands:
                    size = tiles.bytes_missing(wanted, needed)
                    with lock:
                        if size > room:
                            return
                        room -= size
                    tiles.fetch(wanted, needed)
            except (TerrazzoError, HeaderOutdated):
                return  # the read itself will tell

        try:
            groups = self.near(target.grid, target.window, labels)
        except TerrazzoError:
            return
        names = self._chosen(labels)[1]
        parts = [
            part
            for label, items in enumerate(groups)
            for item in items
            for part in parts_of(label, item, names, target)
            if part.asset.is_remote
        ]
        for _ in side_by_side(fetch, parts):
            pass

    def _report(self, error: SourceUnreadable) -> None:
        if self.on_bad is None:
            raise error
        if self._reported.setdefault(error.item, error) is error:
            self.on_bad(error)
