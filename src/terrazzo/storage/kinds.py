"""What images of one kind have in common: lattices and types of their bands, as columns.

Of a million images most are like thousands of others. What reads of them take is known from their
kinds, and how many there are of each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from terrazzo.geo.grid import Grid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from terrazzo.storage.scenes import AssetBand, SceneItem

NONE = -1
"""Of a band that images of a kind lack."""


class Form(NamedTuple):
    """What a band of an image is like."""

    grid: Grid | None
    """Its lattice, None where nothing says it."""
    overviews: tuple[int, ...] | None
    """Reduction factors, None where they are not known."""
    dtype: str
    """NumPy name, empty where it is not known."""
    meaning: str
    """Which band of its file it is, and what its numbers mean."""


class Kind(NamedTuple):
    """What an image is like."""

    forms: tuple[Form | None, ...]
    """Of each band of the source, None where it is lacking."""
    slots: tuple[int, ...]
    """Which of the image's files has it, counted in this order."""


@lru_cache(maxsize=4096)
def meaning_of(index: int, nodata: str, scale: float, offset: float) -> str:
    """Return as text which band of its file a band is, and what its numbers mean."""
    return f"{index} {nodata} {scale + 0.0!r} {offset + 0.0!r}"  # -0.0 is 0.0 to the cache, too


def kind_of(item: SceneItem, names: Sequence[str]) -> tuple[Kind, list[AssetBand]]:
    """Return what an image is like, and a band of each of its files, in the order of slots."""
    forms: list[Form | None] = []
    slots: list[int] = []
    files: dict[str, int] = {}
    first: list[AssetBand] = []
    for name in names:
        band = item.band(name)
        if band is None:
            forms.append(None)
            slots.append(NONE)
            continue
        meaning = meaning_of(band.index, str(band.nodata), band.scale, band.offset)
        forms.append(Form(band.grid, band.overviews, band.dtype, meaning))
        slot = files.setdefault(band.asset.key, len(files))
        if slot == len(first):
            first.append(band)
        slots.append(slot)
    return Kind(tuple(forms), tuple(slots)), first


@dataclass(frozen=True, slots=True, eq=False)
class Kinds:
    """The kinds of images of a source."""

    systems: tuple[str, ...]
    """The CRS that there are."""
    overviews: tuple[tuple[int, ...] | None, ...]
    """The overviews that there are."""
    types: tuple[str, ...]
    """The types that there are."""
    meanings: tuple[str, ...]
    """The meanings that there are."""
    lattices: NDArray[np.float64]
    """(forms, 4) left, top, pixel_x, pixel_y."""
    codes: NDArray[np.int32]
    """(forms, 6) height, width, and positions of CRS (or `NONE`), overviews, type, meaning."""
    members: NDArray[np.int32]
    """(kinds, bands) positions of forms, or `NONE`."""
    slots: NDArray[np.int32]
    """(kinds, bands) see `Kind`."""

    @classmethod
    def of(cls, kinds: Sequence[Kind], bands: int) -> Kinds:
        """Write kinds as columns.

        Args:
            kinds: in their order.
            bands: of each.
        """
        forms: dict[Form | None, int] = {}
        for kind in kinds:
            for form in kind.forms:
                if form is not None:
                    forms.setdefault(form, len(forms))
        told = _Told()
        grids = [form.grid for form in forms if form is not None]
        lattices = [(g.left, g.top, g.pixel_x, g.pixel_y) if g else (0, 0, 1, 1) for g in grids]
        codes = [told.codes(form) for form in forms if form is not None]
        forms[None] = NONE
        members = [[forms[form] for form in kind.forms] for kind in kinds]
        return cls(
            tuple(told.systems),
            tuple(told.overviews),
            tuple(told.types),
            tuple(told.meanings),
            np.array(lattices, np.float64).reshape(-1, 4),
            np.array(codes, np.int32).reshape(-1, 6),
            np.array(members, np.int32).reshape(-1, bands),
            np.array([kind.slots for kind in kinds], np.int32).reshape(-1, bands),
        )

    @classmethod
    def kept(cls, told: Mapping[str, Any], columns: Mapping[str, Any]) -> Kinds:
        """Return what `told` and `columns` gave.

        Raises:
            KeyError, TypeError: something else.
        """
        overviews = tuple(None if one is None else tuple(one) for one in told["overviews"])
        texts = (tuple(told[name]) for name in ("systems", "types", "meanings"))
        systems, types, meanings = texts
        arrays = (columns[name] for name in ("lattices", "codes", "members", "slots"))
        return cls(systems, overviews, types, meanings, *arrays)

    @property
    def told(self) -> dict[str, Any]:
        """What there is few of, as JSON values."""
        return {
            "systems": self.systems,
            "overviews": self.overviews,
            "types": self.types,
            "meanings": self.meanings,
        }

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """What there is many of."""
        return {
            "lattices": self.lattices,
            "codes": self.codes,
            "members": self.members,
            "slots": self.slots,
        }

    def form(self, kind: int, band: int) -> Form | None:
        """Return what a band of a kind is like; None where it is lacking."""
        number = int(self.members[kind, band])
        if number == NONE:
            return None
        height, width, system, overviews, dtype, meaning = self.codes[number].tolist()
        left, top, pixel_x, pixel_y = self.lattices[number].tolist()
        grid = None
        if system != NONE:
            grid = Grid(self.systems[system], left, top, pixel_x, pixel_y, height, width)
        return Form(grid, self.overviews[overviews], self.types[dtype], self.meanings[meaning])


@dataclass(frozen=True, slots=True)
class _Told:
    """Numbers what there is few of."""

    systems: dict[str, int] = field(default_factory=dict)
    overviews: dict[tuple[int, ...] | None, int] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)
    meanings: dict[str, int] = field(default_factory=dict)

    def codes(self, form: Form) -> tuple[int, int, int, int, int, int]:
        grid = form.grid
        height, width = (grid.height, grid.width) if grid else (0, 0)
        system = self.systems.setdefault(grid.crs, len(self.systems)) if grid else NONE
        return (
            height,
            width,
            system,
            self.overviews.setdefault(form.overviews, len(self.overviews)),
            self.types.setdefault(form.dtype, len(self.types)),
            self.meanings.setdefault(form.meaning, len(self.meanings)),
        )
