"""What the items of a collection have in common: kept up to date with them, item by item.

A survey counts, so that an item can be taken back as exactly as it was added; only where the
last of many goes that were too many to count, it is `stale` and has to be made anew of all
items. Its size is bounded, whatever the number of items.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from terrazzo.catalog.bands import BandInfo, band_document, merge_bands, read_bands
from terrazzo.catalog.counted import Counted, Lost, Range
from terrazzo.catalog.documents import item_period
from terrazzo.catalog.layouts import Footprint, Grids, Layouts, Step, footprints
from terrazzo.catalog.property_counts import Property
from terrazzo.catalog.space import Box, check_bbox, split
from terrazzo.catalog.stac import cube_dimensions, extensions
from terrazzo.catalog.tables import PRIMARY, TYPES, geometry_dimensions
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.times import format_time, instant, microseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

_VERSION: Final = 1
"""Of the text; to be raised with every change of what is counted."""
_TIMES, _TIMES_KEPT = 1000, 1500
_NAMES = 1000
"""Properties that are looked at: those that came first."""
_OF_PIXELS: Final = frozenset({"x", "y", "bands"})
"""Dimensions that geometries do not have."""
_GATHERED = 4096
"""Items that are counted together at most."""
_SPANS = 512
_GAP = 1.0
"""Degrees: gaps between items that are narrower are none; there are fewer than `_SPANS` wider."""
_NO_SUMMARY: Final = frozenset({
    "datetime", "start_datetime", "end_datetime", "created", "updated", "title", "description",
})  # fmt: skip


@dataclass(slots=True)
class Spans:
    """The longitudes that items cover, joined."""

    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)

    def add(self, west: float, east: float) -> None:
        """Cover another one."""
        at = bisect_right(self.starts, west)
        if at and east <= self.ends[at - 1]:
            return
        first = at - 1 if at and west <= self.ends[at - 1] else at
        last = bisect_right(self.starts, east)
        if first < last:
            west, east = min(west, self.starts[first]), max(east, self.ends[last - 1])
        self.starts[first:last], self.ends[first:last] = [west], [east]
        if len(self.starts) > _SPANS:
            gaps = [(b - a, n) for n, (a, b) in enumerate(self.gaps())]
            _, closed = min(gaps)
            del self.starts[closed + 1], self.ends[closed]

    def gaps(self) -> list[tuple[float, float]]:
        """Return what lies between, from west to east."""
        return list(zip(self.ends[:-1], self.starts[1:], strict=True))

    def around(self) -> tuple[float, float]:
        """Return west and east of all: across the antimeridian, around the widest gap."""
        west, east, widest = self.starts[0], self.ends[-1], _GAP
        for left, right in self.gaps():
            if right - left > widest:
                widest, west, east = right - left, right, left
        return west, east


@dataclass(slots=True)
class Survey:
    """What was seen in the items so far."""

    count: int = 0
    stale: bool = False
    """Whether it has to be made anew; then nothing else counts."""
    crossing: int = 0
    """Items that cross the antimeridian."""
    spans: Spans = field(default_factory=Spans)
    loose: bool = False
    """Whether items were taken back, so that `spans` may cover more than there is."""
    longitudes: Range = field(default_factory=Range)
    latitudes: Range = field(default_factory=Range)
    period: Range = field(default_factory=Range)
    times: Counted[int] = field(default_factory=lambda: Counted(_TIMES, _TIMES_KEPT))
    """Instants and starts of periods, microseconds since 1970."""
    layouts: Layouts = field(default_factory=Layouts)
    grids: Grids = field(default_factory=Grids)
    properties: dict[str, Property] = field(default_factory=dict)

    def add(self, item: Mapping[str, Any]) -> None:
        """Take in an item; one without a valid place or time is passed over."""
        gathering = Gathering(self)
        gathering.add(item)
        gathering.done()

    def remove(self, item: Mapping[str, Any]) -> None:
        """Take back an item that was added; where that cannot be done the survey is stale."""
        where = None if self.stale else _where(item, None)
        if where is None:
            return
        if self.count == 1:
            self._become(Survey())
            return
        parts, (start, stop) = where
        try:
            self.count -= 1
            self._remove_place(parts)
            self.period.remove(start, stop)
            self.times.remove(start)
            layout = self.layouts.of(item)
            self.layouts.remove(layout.key)
            self.grids.remove(item, layout.pixels)
            for name, value in item["properties"].items():
                if value is not None:
                    self._remove_property(name, value)
        except Lost:
            self.lose()

    def told_of(self, name: str) -> Property:
        """Return what is known of a property."""
        if len(self.properties) >= _NAMES:
            return self.properties.get(name) or Property()
        return self.properties.setdefault(name, Property())

    def _remove_place(self, parts: Sequence[Box]) -> None:
        self.crossing -= len(parts) > 1
        self.loose = True
        if self.crossing:
            raise Lost
        self.longitudes.remove(parts[-1][0], parts[0][2])
        self.latitudes.remove(parts[0][1], parts[0][3])

    def _remove_property(self, name: str, value: object) -> None:
        one = self.properties.get(name)
        if one is not None:
            one.remove(value)
            if not one.types:
                del self.properties[name]
        elif len(self.properties) < _NAMES:
            raise Lost

    def replace(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        """Take in an item and take back the one that it replaces: this way round loses least."""
        self.add(new)
        self.remove(old)

    def merge(self, other: Survey) -> None:
        """Take in all items of another survey; the two must have none in common."""
        if self.stale or other.stale:
            self.lose()
            return
        self.count += other.count
        self.crossing += other.crossing
        self.loose |= other.loose
        for span in zip(other.spans.starts, other.spans.ends, strict=True):
            self.spans.add(*span)
        self.longitudes.merge(other.longitudes)
        self.latitudes.merge(other.latitudes)
        self.period.merge(other.period)
        self.times.merge(other.times)
        self.layouts.merge(other.layouts)
        self.grids.merge(other.grids)
        for name, one in other.properties.items():
            self.told_of(name).merge(one)
        if self.loose and self.crossing:
            self.lose()

    def lose(self) -> None:
        """Forget everything: it has to be made anew."""
        self._become(Survey(stale=True))

    def _become(self, other: Survey) -> None:
        """Forget everything for another survey."""
        for name in self.__slots__:
            setattr(self, name, getattr(other, name))

    # texts

    def to_text(self) -> str:
        """Return the survey as JSON text, which `of_text` reads."""
        if self.stale:
            return '{"stale":true}'
        told = {
            "version": _VERSION,
            "count": self.count,
            "crossing": self.crossing,
            "spans": [self.spans.starts, self.spans.ends],
            "loose": self.loose,
            "longitudes": self.longitudes.to_json(),
            "latitudes": self.latitudes.to_json(),
            "period": self.period.to_json(),
            "times": self.times.to_json(),
            "layouts": self.layouts.to_json(),
            "grids": self.grids.to_json(),
            "properties": {name: one.to_json() for name, one in self.properties.items()},
        }
        try:
            return orjson.dumps(told).decode()
        except TypeError:  # integers beyond 64 bits
            return json.dumps(told, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def of_text(cls, text: str | bytes) -> Survey:
        """Read what `to_text` wrote; what another version wrote is stale."""
        told = orjson.loads(text)
        if told.get("version") != _VERSION:
            return cls(stale=True)
        found = cls(told["count"], crossing=told["crossing"], loose=told["loose"])
        found.spans = Spans(*told["spans"])
        for name in ("longitudes", "latitudes", "period", "times", "layouts", "grids"):
            getattr(found, name).read(told[name])
        for name, one in told["properties"].items():
            found.properties[name] = Property()
            found.properties[name].read(one)
        return found

    # what it says

    @property
    def of_geometries(self) -> bool:
        """Whether there are items, and all of them hold geometries and not images."""
        told = self.properties.get(PRIMARY)
        return told is not None and told.strings == self.count

    def bbox(self) -> Box:
        """Return the smallest bbox; it crosses the antimeridian if an item does."""
        west, east = self.longitudes.low, self.longitudes.high
        if self.crossing:
            west, east = self.spans.around()
        return west, self.latitudes.low, east, self.latitudes.high

    def interval(self) -> tuple[str, str]:
        """Return the first start and the last end."""
        return _time(self.period.low), _time(self.period.high)

    def summaries(self) -> dict[str, Any]:
        """Return ranges of numbers and short lists of texts."""
        found = {name: self.properties[name].summary for name in sorted(self.properties)}
        return {
            name: told
            for name, told in found.items()
            if told is not None and name not in _NO_SUMMARY
        }

    def describe(self, collection: Mapping[str, Any]) -> dict[str, Any]:
        """Return a collection with what its items say.

        Extents, `cube:dimensions`, bands, `item_assets` and summaries are those of the items;
        what the collection states and no item says is kept. Spatial dimensions are in the CRS of
        the items if they share one, else in degrees.

        Args:
            collection: as it was stated; returned as it is where there are no items.
        """
        found = dict(collection)
        if not self.count:
            return found
        box, interval = self.bbox(), self.interval()
        found["extent"] = {
            "spatial": {"bbox": [list(box)]},
            "temporal": {"interval": [list(interval)]},
        }
        bands = self._bands(found)
        names = [band.name for band in bands]
        dimensions = self._dimensions(box, interval, names)
        before = mapping(collection, "cube:dimensions")
        if self.of_geometries:
            before = {name: told for name, told in before.items() if name not in _OF_PIXELS}
        found["cube:dimensions"] = {**before, **dimensions}
        stated = mapping(collection, "item_assets")
        assets = self.layouts.assets()
        if assets:
            fresh = {key: {**mapping(stated, key), **asset} for key, asset in assets.items()}
            found["item_assets"] = {**stated, **fresh}
        found["summaries"] = {**mapping(collection, "summaries"), **self.summaries()}
        listed = collection.get("stac_extensions")
        known = listed if isinstance(listed, list) else []
        found["stac_extensions"] = known + [url for url in extensions(found) if url not in known]
        return found

    def _bands(self, found: dict[str, Any]) -> tuple[BandInfo, ...]:
        """Set the bands of a collection, and return them; what makes no sense is left as it is."""
        fresh = self.layouts.bands()
        try:
            bands = merge_bands(read_bands(found) if "bands" in found else (), fresh)
        except ArgumentInvalid:
            return fresh
        if bands:
            found["bands"] = [band_document(band) for band in bands]
        return bands

    def _dimensions(self, box: Box, interval: tuple[str, str], bands: list[str]) -> dict[str, Any]:
        """Return the dimensions that the items have in common."""
        times = [_time(time) for time in self.times.listed() or ()]
        if self.of_geometries:
            known = self.properties.get(TYPES, Property())
            types = known.texts.listed() or ()
            return geometry_dimensions(box, types, interval=interval, times=times)
        grid = self.grids.only()
        if grid is not None:
            crs, x, y = grid
            return cube_dimensions(
                x=x, y=y, crs=crs, step=self.grids.step(), interval=interval, times=times,
                bands=bands,
            )  # fmt: skip
        x, y = (box[0], box[2]), (box[1], box[3])
        return cube_dimensions(x=x, y=y, interval=interval, times=times, bands=bands)


@dataclass(slots=True)
class Gathering:
    """Items on their way into a survey: what each says of itself is counted together.

    Nothing is in the survey for certain before `done`.
    """

    survey: Survey
    _boxes: list[Box] = field(default_factory=list)
    """Of whole items; those across the antimeridian begin in the west."""
    _starts: list[int] = field(default_factory=list)
    _stops: list[int] = field(default_factory=list)
    _grids: list[tuple[list[Footprint], list[Step]]] = field(default_factory=list)
    _columns: dict[str, list[Any]] = field(default_factory=dict)
    """Values by property, in the order of the items."""

    def add(self, item: Mapping[str, Any], period: tuple[int, int] | None = None) -> None:
        """Take in an item; one without a valid place or time is passed over.

        Args:
            item: its document.
            period: start and end in microseconds since 1970, if they are known already.
        """
        survey = self.survey
        where = None if survey.stale else _where(item, period)
        if where is None:
            return
        parts, (start, stop) = where
        for part in parts:
            survey.spans.add(part[0], part[2])
        survey.crossing += len(parts) > 1
        self._boxes.append((parts[-1][0], parts[0][1], parts[0][2], parts[0][3]))
        self._starts.append(start)
        self._stops.append(stop)
        columns = self._columns
        try:
            layout = survey.layouts.of(item)
            survey.layouts.add(layout.key)
            if layout.pixels:
                self._grids.append(footprints(item, layout.pixels))
        except Lost:
            survey.lose()
            return
        for name, value in item["properties"].items():
            if value is not None:
                known = columns.get(name)
                if known is None:
                    columns[name] = [value]
                else:
                    known.append(value)
        if len(self._boxes) >= _GATHERED:
            self.done()

    def done(self) -> None:
        """Count what was taken in; more may follow."""
        survey = self.survey
        if survey.stale or not self._boxes:
            return
        if (survey.loose and survey.crossing) or not all(isinstance(n, str) for n in self._columns):
            survey.lose()  # JSON makes texts of names that are none
            return
        survey.count += len(self._boxes)
        wests, souths, easts, norths = zip(*self._boxes, strict=True)
        survey.longitudes.add_all(wests, easts)
        survey.latitudes.add_all(souths, norths)
        survey.period.add_all(self._starts, self._stops)
        for start, count in Counter(self._starts).items():
            survey.times.add(start, count)
        survey.grids.add_all(self._grids)
        for name, values in self._columns.items():
            survey.told_of(name).add_all(values)
        for kept in (self._boxes, self._starts, self._stops, self._grids, self._columns):
            kept.clear()


def mapping(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a member that is an object; empty where it is something else (seen in the wild)."""
    value = document.get(name)
    return dict(value) if isinstance(value, Mapping) else {}


def _where(
    item: Mapping[str, Any], period: tuple[int, int] | None
) -> tuple[tuple[Box, ...], tuple[int, int]] | None:
    """Return the boxes and the period of an item; None where they are not valid."""
    try:
        parts = split(check_bbox(item["bbox"], "Item"))
        if period is None:
            start, stop = item_period(item)
            period = microseconds(start), microseconds(stop)
    except (ArgumentInvalid, KeyError, AttributeError):
        return None
    return parts, period


def _time(value: float) -> str:
    return format_time(instant(int(value)))
