"""What the assets of many items are: their kinds and bands, counted, and the grids of their pixels.

Most items of a collection have assets like those of the item before, so that is looked at first.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import isfinite
from operator import call, eq, itemgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from terrazzo.catalog.bands import BandInfo, merge_bands, read_bands
from terrazzo.catalog.counted import Counted, Least, Lost, Range
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.crs import crs_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_BANDS: Final = ("bands", "eo:bands", "raster:bands")
_TOLD: Final = frozenset({
    *_BANDS, "type", "roles", "data_type", "nodata", "unit", "gsd", "description", "raster:scale",
    "raster:offset", "raster:spatial_resolution", "eo:common_name", "eo:center_wavelength",
})  # fmt: skip
"""Fields of an asset that hold for all items; all others are of one file."""
_OF_ONE_FILE: Final = ("statistics", "histogram", "raster:histogram")
_PROJECTED: Final = (
    "proj:transform", "proj:shape", "proj:code", "proj:epsg", "proj:wkt2", "proj:projjson",
)  # fmt: skip
_USUAL: Final = ("proj:transform", "proj:shape")
_MOST, _ROOM = 16, 24
"""Layouts that are described, and kept."""
_LONGEST = 24_000
"""Characters of a layout; assets beyond are not described."""

Layout: TypeAlias = dict[str, Any]
"""An item cut down to what it says of the kinds of its assets."""
Extent: TypeAlias = tuple[float, float, float, float]
"""Left, bottom, right, top."""
Footprint: TypeAlias = tuple[str, Extent]
"""A CRS, and the extent in it."""
Step: TypeAlias = tuple[float, ...]
"""Width and height of a pixel."""


Get: TypeAlias = "Callable[[Any], Any]"
Pixels: TypeAlias = "tuple[str, tuple[str, ...], Get]"
"""Key of an asset that has pixels, the fields that state its grid, and how to get them."""


@dataclass(slots=True)
class Seen:
    """A layout as items have it, to tell at once whether the next one is like it."""

    key: str
    names: list[str]
    fields: list[frozenset[str]]
    """Of each asset, what it has."""
    gets: list[Get]
    """Of each asset, how to get what counts."""
    told: list[object]
    """Of each asset, what that was."""
    properties: list[Any]
    pixels: list[Pixels]

    def fits(self, assets: Mapping[str, Any], properties: Mapping[str, Any]) -> bool:
        """Tell whether an item has this layout."""
        if list(assets) != self.names:
            return False
        found = assets.values()
        try:
            same = all(map(eq, map(dict.keys, found), self.fields))
        except TypeError:  # no dictionary
            return False
        return (
            same
            and all(map(eq, map(call, self.gets, found), self.told))
            and [properties.get(name) for name in _BANDS] == self.properties
        )


@dataclass(slots=True)
class Layouts:
    """The layouts of items, counted; of too many those whose digest is least."""

    keys: Least[str] = field(default_factory=lambda: Least(_ROOM))
    told: dict[str, Layout] = field(default_factory=dict)
    _seen: list[Seen] = field(default_factory=list)

    def of(self, item: Mapping[str, Any]) -> Seen:
        """Return an item's layout, and remember what it says.

        Raises:
            Lost: an asset has a name that is no text.
        """
        assets, properties = item.get("assets"), item["properties"]
        if not isinstance(assets, Mapping):
            assets = {}
        for seen in self._seen:
            if seen.fits(assets, properties):
                return seen
        layout = _layout(assets, properties)
        key = hashlib.sha256(json.dumps(layout, sort_keys=True).encode()).hexdigest()[:24]
        self.told[key] = layout
        seen = _seen(key, layout, assets, properties)
        if all(type(asset) is dict for asset in assets.values()):
            self._seen = [seen, *self._seen[:3]]
        return seen

    def add(self, key: str, count: int = 1) -> None:
        """Count a layout."""
        if key not in self.keys.counts:
            self.keys.add(key, count)
            self._forget()
        else:
            self.keys.counts[key] += count

    def _forget(self) -> None:
        """Drop layouts that are not counted any more."""
        for gone in self.told.keys() - self.keys.counts.keys():
            del self.told[gone]

    def remove(self, key: str) -> None:
        """Take a layout back.

        Raises:
            Lost: too few are known.
        """
        self.keys.remove(key)
        self._forget()
        if self.keys.edge is not None and len(self.keys.counts) < _MOST:
            raise Lost

    def merge(self, other: Layouts) -> None:
        """Add the layouts of another one."""
        self.told |= other.told
        self.keys.merge(other.keys)
        self._forget()

    def all(self) -> list[Layout]:
        """Return the layouts that are described, the most frequent first."""
        counts = self.keys.counts
        chosen = sorted(counts)[:_MOST]
        return [self.told[key] for key in sorted(chosen, key=lambda key: (-counts[key], key))]

    def bands(self) -> tuple[BandInfo, ...]:
        """Return the bands of all layouts."""
        return merge_bands(*(_bands(layout, "") for layout in self.all()))

    def assets(self) -> dict[str, dict[str, Any]]:
        """Return all assets, as `item_assets` has them."""
        found: dict[str, dict[str, Any]] = {}
        for layout in self.all():
            for name, asset in layout["assets"].items():
                found.setdefault(name, asset)
        return found

    def to_json(self) -> list[Any]:
        """Return what `read` reads."""
        return [self.keys.to_json(), self.told]

    def read(self, told: list[Any]) -> None:
        """Take over what `to_json` returned."""
        self.keys.read(told[0])
        self.told = told[1]


def _layout(assets: Mapping[str, Any], properties: Mapping[str, Any]) -> Layout:
    """Cut an item down; its assets in the order of their names, as objects have none."""
    kept: dict[str, Any] = {}
    length = 0
    if not all(isinstance(name, str) for name in assets):
        raise Lost  # JSON makes texts of them
    for name, asset in sorted(assets.items(), key=_natural):
        if isinstance(asset, Mapping):
            told = {field: _kept(field, value) for field, value in asset.items() if field in _TOLD}
            told = {field: value for field, value in told.items() if value is not None}
            length += len(name) + len(json.dumps(told))
            if length > _LONGEST:
                break
            kept[name] = told
    own = {name: _kept(name, properties[name]) for name in _BANDS if name in properties}
    short = len(json.dumps(own)) <= _LONGEST
    return {"assets": kept, "properties": own if short else {}}


def _natural(asset: tuple[str, Any]) -> tuple[list[str | int], str]:
    """Return by what assets are sorted: `B8` before `B8A` before `B11`."""
    parts = re.split(r"([0-9]+)", asset[0])
    return [int(part) if n % 2 else part for n, part in enumerate(parts)], asset[0]


def _kept(field: str, value: Any) -> Any:
    """Return what a field tells of all items; None where it is not of the kind that STAC has."""
    if field in _BANDS:
        if not isinstance(value, (list, tuple)):
            return None
        return [
            {k: v for k, v in one.items() if k not in _OF_ONE_FILE}
            for one in value
            if isinstance(one, Mapping)
        ]
    if field == "roles":
        is_list = isinstance(value, (list, tuple))
        return [one for one in value if isinstance(one, str)] if is_list else None
    return None if isinstance(value, (Mapping, list, tuple)) else value


def _seen(
    key: str, layout: Layout, assets: Mapping[str, Any], properties: Mapping[str, Any]
) -> Seen:
    """Remember how an item looks."""
    fields: list[frozenset[str]] = []
    gets: list[Get] = []
    pixels: list[Pixels] = []
    for name, asset in assets.items():
        has = asset if type(asset) is dict else {}
        fields.append(frozenset(has))
        gets.append(_getter([field for field in has if field in _TOLD]))
        if name in layout["assets"] and _bands(layout["assets"][name], name):
            stated = tuple(field for field in _PROJECTED if field in asset)
            pixels.append((name, stated, _getter(stated)))
    told = [get(asset) for get, asset in zip(gets, assets.values(), strict=True)]
    own = [properties.get(name) for name in _BANDS]
    return Seen(key, list(assets), fields, gets, told, own, pixels)


def _getter(fields: Sequence[str]) -> Get:
    """Return what gets fields out of an asset as a tuple."""
    if len(fields) > 1:
        return itemgetter(*fields)
    return lambda asset: tuple(asset[field] for field in fields)


def _bands(layout: Mapping[str, Any], key: str) -> tuple[BandInfo, ...]:
    """Return the bands of a layout or asset; none where what it says makes no sense."""
    try:
        return read_bands(layout, key)
    except ArgumentInvalid:
        return ()


@dataclass(slots=True)
class Grids:
    """Where pixels lie in their own CRS, counted."""

    systems: Counted[str] = field(default_factory=lambda: Counted(1, 8))
    """Names of CRS; `""` counts items with pixels whose grid is unknown."""
    steps: Counted[Step] = field(default_factory=lambda: Counted(1, 8))
    """Width and height of a pixel."""
    xs: dict[str, Range] = field(default_factory=dict)
    ys: dict[str, Range] = field(default_factory=dict)

    def add_all(self, found: Iterable[tuple[Sequence[Footprint], Sequence[Step]]]) -> None:
        """Count where assets of items lie, as `footprints` tells."""
        extents: dict[str, list[Extent]] = {}
        sizes: Counter[Step] = Counter()
        for places, steps in found:
            for crs, extent in places:
                extents.setdefault(crs, []).append(extent)
            sizes.update(steps)
        for crs, own in extents.items():
            self.systems.add(crs, len(own))
            if crs in self.systems.counts:
                lefts, bottoms, rights, tops = zip(*own, strict=True)
                self.xs.setdefault(crs, Range()).add_all(lefts, rights)
                self.ys.setdefault(crs, Range()).add_all(bottoms, tops)
        for step, count in sizes.items():
            self.steps.add(step, count)

    def remove(self, item: Mapping[str, Any], pixels: Sequence[Pixels]) -> None:
        """Take an item back.

        Raises:
            Lost: what is left is unknown.
        """
        places, steps = footprints(item, pixels)
        for crs, (left, bottom, right, top) in places:
            self.systems.remove(crs)
            if crs not in self.systems.counts:
                self.xs.pop(crs, None)
                self.ys.pop(crs, None)
            else:
                self.xs[crs].remove(left, right)
                self.ys[crs].remove(bottom, top)
        for step in steps:
            self.steps.remove(step)

    def merge(self, other: Grids) -> None:
        """Add the counts of another one."""
        self.systems.merge(other.systems)
        self.steps.merge(other.steps)
        for mine, theirs in ((self.xs, other.xs), (self.ys, other.ys)):
            for crs, extent in theirs.items():
                if crs in self.systems.counts:
                    mine.setdefault(crs, Range()).merge(extent)

    def only(self) -> tuple[str, tuple[float, float], tuple[float, float]] | None:
        """Return the CRS that all pixels share with their extents, or None."""
        systems = self.systems.listed()
        if not systems or "" in systems:
            return None
        crs = systems[0]
        xs, ys = self.xs[crs], self.ys[crs]
        return crs, (xs.low, xs.high), (ys.low, ys.high)

    def step(self) -> tuple[float, float] | None:
        """Return the pixel size that all share, or None."""
        steps = self.steps.listed()
        if not steps or not all(steps[0]):
            return None
        return steps[0][0], steps[0][1]

    def to_json(self) -> list[Any]:
        """Return what `read` reads."""
        extents = {crs: [self.xs[crs].to_json(), self.ys[crs].to_json()] for crs in self.xs}
        return [self.systems.to_json(), self.steps.to_json(), extents]

    def read(self, told: list[Any]) -> None:
        """Take over what `to_json` returned."""
        self.systems.read(told[0])
        self.steps.read(told[1])
        for crs, (xs, ys) in told[2].items():
            self.xs[crs], self.ys[crs] = Range(), Range()
            self.xs[crs].read(xs)
            self.ys[crs].read(ys)


def footprints(
    item: Mapping[str, Any], pixels: Sequence[Pixels]
) -> tuple[list[Footprint], list[Step]]:
    """Work out where assets of an item lie; most have the grid of another one."""
    assets, properties = item.get("assets"), item["properties"]
    different: list[tuple[tuple[str, ...], Any]] = []
    for name, fields, get in pixels:
        row = (fields, get(assets[name]))  # type: ignore[index] # it has pixels
        if row not in different:
            different.append(row)
    crs = _system(properties)
    places: dict[str, Extent] = {}
    steps: set[Step] = set()
    for fields, row in different:
        if fields == _USUAL and row[0] and row[1]:
            own, (left, bottom, right, top), step = _footprint(row[0], row[1], crs)
        else:
            stated = dict(zip(fields, row, strict=True))
            own, (left, bottom, right, top), step = _footprint(
                stated.get("proj:transform") or properties.get("proj:transform") or (),
                stated.get("proj:shape") or properties.get("proj:shape") or (),
                _system(stated) or crs,
            )
        old = places.get(own)
        if old is not None:
            left, bottom = min(left, old[0]), min(bottom, old[1])
            right, top = max(right, old[2]), max(top, old[3])
        places[own] = (left, bottom, right, top)
        if own:
            steps.add(step)
    return list(places.items()), sorted(steps)


def _footprint(transform: Any, shape: Any, crs: Any) -> tuple[str, Extent, tuple[float, ...]]:
    """Return CRS, extent and pixel size of an asset; `""` where they are not known.

    It is called for every item, so it does without what `stac.read_projection` does.
    """
    try:
        a, b, left, d, e, top = map(float, transform[:6])
        height, width = map(int, shape)
        right, bottom, step = left + a * width, top + e * height, (abs(a), abs(e))
        if b or d:
            xs = (left, right, left + b * height, right + b * height)
            ys = (top, bottom, top + d * width, bottom + d * width)
            left, right, bottom, top, step = min(xs), max(xs), min(ys), max(ys), (0.0, 0.0)
        if left > right:
            left, right = right, left
        if bottom > top:
            bottom, top = top, bottom
        if crs and isfinite(right - left) and isfinite(top - bottom):
            return _name(crs), (left, bottom, right, top), step
    except (ArgumentInvalid, TypeError, ValueError, OverflowError):
        pass  # a CRS that PROJ does not know, numbers that are none
    return "", (0.0, 0.0, 0.0, 0.0), ()


def _name(crs: Any) -> str:
    """Return the canonical name of a CRS."""
    return _known_name(crs) if isinstance(crs, str | int) else crs_name(crs)


_known_name = lru_cache(maxsize=512, typed=True)(crs_name)


def _system(stated: Mapping[str, Any]) -> object:
    """Return the CRS that an asset or the properties of an item state, as it is written."""
    get = stated.get
    return get("proj:code") or get("proj:epsg") or get("proj:wkt2") or get("proj:projjson")
