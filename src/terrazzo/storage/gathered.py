"""The images of a source, gathered one by one: columns of what plans ask of all of them.

A continent has millions of images, and a window touches some hundred. So nothing of an image
stays but when and where it is, and its id; the rest is looked up when a window needs it.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from terrazzo.cube.pixels import compute_dtype
from terrazzo.errors import SourceUnreadable
from terrazzo.geo.times import format_time, instant, microseconds, solar_day
from terrazzo.storage.file_names import Gathered
from terrazzo.storage.kinds import Kinds, kind_of
from terrazzo.storage.outlines import Outlines
from terrazzo.storage.scenes import completed, native_grid
from terrazzo.storage.shelf import KEPT, Shelf
from terrazzo.storage.target import outline_of
from terrazzo.storage.texts import Texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from terrazzo.geo.grid import Grid
    from terrazzo.storage.file_names import FileNames
    from terrazzo.storage.kinds import Kind
    from terrazzo.storage.outlines import Place
    from terrazzo.storage.raster import RasterReader
    from terrazzo.storage.scenes import AssetBand, SceneItem
    from terrazzo.storage.shelf import LookUp
    from terrazzo.storage.target import Reach

    Integers = NDArray[np.int64]
    Lost = Callable[[SourceUnreadable], None]

AT_ONCE = KEPT // 4
"""Images that are looked up at a time."""
REMEMBERED = 16
"""Windows for which it is remembered which images they touch: price, version and read ask."""


class _Touched(dict["Reach", "Integers"]):
    """Which images windows touch; not sent to other processes."""

    @override
    def __reduce__(self) -> tuple[type[_Touched], tuple[()]]:
        return _Touched, ()


@dataclass(frozen=True, slots=True, eq=False)
class Scenes:
    """The images of a source, in reading order: by label, then by (time, id)."""

    ids: Texts
    """Of all images."""
    labels: tuple[str, ...]
    """Time labels: the instant of the first image of each."""
    is_remote: bool
    """Whether any file is read over the network."""
    stated: bool
    """Whether items said all of it, so that no file was opened."""
    starts: Integers
    """(labels + 1,) where the images of each label begin."""
    outlines: Outlines
    """Where images of each kind lie."""
    kinds: Kinds
    """What they are like."""
    kind: NDArray[np.int32]
    """(images,) the position of each one's kind."""
    files: FileNames | None
    """Their files; None where only the images themselves know them well enough."""
    came: Integers
    """(images,) the place of each one in `files`."""
    shelf: Shelf
    """The images as they are read."""
    _touched: _Touched = field(default_factory=_Touched, repr=False)

    @property
    def all(self) -> tuple[int, ...]:
        """Positions of all labels."""
        return tuple(range(len(self.labels)))

    def ids_of(self, times: Sequence[int]) -> tuple[str, ...]:
        """Return the ids of the images of some labels, given by position."""
        return tuple(name for time in times for name in self.ids[self._span(time)])

    def near(
        self, reach: Reach, times: Sequence[int], lost: Lost
    ) -> tuple[tuple[SceneItem, ...], ...]:
        """Return, for each of some labels, the images that may have pixels in a window.

        Args:
            reach: the window.
            times: positions of labels.
            lost: told of images that are not there any more; may raise it.
        """
        touched = self._near(reach)
        edges = np.searchsorted(touched, self.starts)
        groups = []
        for time in times:
            places = touched[edges[time] : edges[time + 1]]
            groups.append(tuple(self._taken(places, lost)))
        return tuple(groups)

    def batches(self, places: Integers, lost: Lost) -> Iterator[list[SceneItem]]:
        """Yield images, never very many at a time.

        Args:
            places: where they are in reading order.
            lost: see `near`.
        """
        for start in range(0, len(places), AT_ONCE):
            yield self._taken(places[start : start + AT_ONCE], lost)

    def places(self, reach: Reach, times: Sequence[int]) -> Integers:
        """Return where in reading order the images of some labels are that `near` returns."""
        touched = self._near(reach)
        edges = np.searchsorted(touched, self.starts)
        spans = [touched[edges[time] : edges[time + 1]] for time in times]
        return np.concatenate([np.zeros(0, np.int64), *spans])

    def _span(self, time: int) -> slice:
        return slice(int(self.starts[time]), int(self.starts[time + 1]))

    def _near(self, reach: Reach) -> Integers:
        """Return the places, in reading order, of the images that may have pixels in a window."""
        found = self._touched.get(reach)
        if found is None:
            found = np.flatnonzero(self.outlines.touched(reach)[self.kind])
            for old in tuple(self._touched)[: 1 - REMEMBERED]:
                self._touched.pop(old, None)
            self._touched[reach] = found
        return found

    def _taken(self, places: Integers, lost: Lost) -> list[SceneItem]:
        taken = self.shelf.take(places.tolist(), self.ids)
        for place, item in zip(places.tolist(), taken, strict=True):
            if item is None:
                lost(SourceUnreadable(self.ids[place], "*", "it was deleted from its collection"))
        return [item for item in taken if item is not None]


@dataclass(slots=True, eq=False)
class Gathering:
    """Takes images one by one, and keeps little of each."""

    names: tuple[str, ...]
    """The bands that count."""
    reader: RasterReader
    """Asks files what items do not say."""
    look_up: LookUp | None
    """Finds images again; without it all are kept."""
    bands: dict[str, None] = field(default_factory=dict)
    """Names of all bands, in the order in which they came."""
    types: dict[np.dtype[Any], None] = field(default_factory=dict)
    """Types of physical values, likewise."""
    example: AssetBand | None = None
    """One of the bands that count."""
    _ids: list[str] = field(default_factory=list)
    _times: array[int] = field(default_factory=lambda: array("q"))
    _days: array[int] = field(default_factory=lambda: array("i"))
    _numbers: array[int] = field(default_factory=lambda: array("i"))
    _known: dict[object, int] = field(default_factory=dict)
    _kinds: list[Kind] = field(default_factory=list)
    _places: list[Place] = field(default_factory=list)
    _grids: list[tuple[Grid, ...]] = field(default_factory=list)
    _kept: list[SceneItem] = field(default_factory=list)
    _files: Gathered = field(default_factory=Gathered)
    _remote: bool = False
    _stated: bool = True

    def add(self, item: SceneItem) -> None:
        """Take an image; its files are opened for facts that it lacks."""
        chosen = [band for band in item.bands if band.band_name in self.names]
        self._stated = self._stated and all(band.is_stated for band in chosen)
        done = completed(item, self.names, self.reader)
        if done is not item:
            item, chosen = done, [band for band in done.bands if band.band_name in self.names]
        if self.look_up is None or len(self._kept) < KEPT:
            self._kept.append(item)
        self._ids.append(item.id)
        self._times.append(microseconds(item.time))
        self._days.append(solar_day(item.time, item.longitude).toordinal())
        for band in item.bands:
            self.bands[band.band_name] = None
        for band in chosen:
            self.example = self.example or band
            self._remote = self._remote or band.asset.is_remote
        self._numbers.append(self._number(item, chosen))

    def _number(self, item: SceneItem, chosen: Sequence[AssetBand]) -> int:
        """Return the number of an image's kind and place, and remember them if they are new."""
        kind, files = kind_of(item, self.names)
        self._files.add(files)
        forms = [form for form in kind.forms if form is not None]
        key: object = kind
        if len(chosen) > len(forms) or any(form.grid is None for form in forms):
            place = tuple(dict.fromkeys(outline_of(item, band) for band in chosen))
            key = kind, place, tuple((b.grid, b.dtype, b.is_scaled) for b in chosen)
        number = self._known.setdefault(key, len(self._kinds))
        if number == len(self._kinds):
            self._places.append(tuple(dict.fromkeys(outline_of(item, band) for band in chosen)))
            self._grids.append(tuple(dict.fromkeys(b.grid for b in chosen if b.grid is not None)))
            self._kinds.append(kind)
            for band in chosen:
                if band.dtype:
                    dtype = np.dtype(band.dtype)
                    self.types[compute_dtype(dtype) if band.is_scaled else dtype] = None
        return number

    def done(self) -> tuple[Scenes, Grid | None]:
        """Return the images that were taken, and the lattice that a source of them has by itself.

        That is None where no file says anything.
        """
        order, starts = self._order()
        kinds = np.array(self._numbers, np.int32)[order]
        firsts = [self._times[n] for n in order[starts[:-1]]]
        labels = tuple(format_time(instant(first)) for first in firsts)
        there = np.flatnonzero(order < len(self._kept))
        kept = {at: self._kept[order[at]] for at in there.tolist()}
        _, first, number = np.unique(kinds, return_index=True, return_counts=True)
        seen = np.argsort(first)
        counts = dict(zip(kinds[first[seen]].tolist(), number[seen].tolist(), strict=True))
        grid = native_grid([(self._grids[kind], count) for kind, count in counts.items()])
        scenes = Scenes(
            Texts(self._ids[n] for n in order),
            labels,
            self._remote,
            self._stated,
            starts,
            Outlines.of(self._places),
            Kinds.of(self._kinds, len(self.names)),
            kinds,
            self._files.done(),
            order,
            Shelf(kept, self.look_up, KEPT),
        )
        return scenes, grid

    def _order(self) -> tuple[Integers, Integers]:
        """Return the reading order, and where each label begins in it.

        Labels are days in mean solar time. Within a label, and between labels, the order is
        (time, id). Days that begin at the same instant (swaths on both sides of the antimeridian)
        are one, so that labels are unique.
        """
        times, ids = self._times, self._ids
        numbers: Iterable[int] = range(len(ids))
        pairs = pairwise(zip(times, ids, strict=True))
        if any(one > other for one, other in pairs):
            numbers = sorted(numbers, key=lambda n: (times[n], ids[n]))
        order = np.fromiter(numbers, np.int64, len(ids))
        when = np.array(times, np.int64)[order]
        _, first, day = np.unique(
            np.array(self._days, np.int64)[order], return_index=True, return_inverse=True
        )
        begins = when[first][day]
        by_label = np.argsort(begins, kind="stable")
        _, starts = np.unique(begins[by_label], return_index=True)
        return order[by_label], np.append(starts, len(order))
