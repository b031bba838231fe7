"""The pixels of a read while it goes on: what is written once is not copied again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube import all_valid
from terrazzo.cube.pixels import compute_dtype, is_all_valid, known_everywhere

if TYPE_CHECKING:
    from terrazzo.cube import Mask, Values
    from terrazzo.geo.grid import Window
    from terrazzo.storage.scenes import AssetBand


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """(t, band, y, x) values that are filled layer by layer, the first valid pixel first."""

    values: Values
    """What was put so far; arbitrary where nothing was, until `validity` is asked for."""
    _masks: list[list[Mask | None]]
    """Per layer: None = nothing yet, or what is valid; broadcast where all is."""

    @classmethod
    def of(cls, labels: int, bands: int, window: Window, dtype: np.dtype[Any]) -> Output:
        """Make room for a window."""
        values = np.empty((labels, bands, window.height, window.width), dtype)
        return cls(values, [[None] * bands for _ in range(labels)])

    def is_full(self, label: int) -> bool:
        """Tell whether all pixels of a label are valid."""
        return all(mask is not None and known_everywhere(mask) for mask in self._masks[label])

    def put(
        self, label: int, band: int, numbers: Values, valid: Mask, stored: AssetBand | None
    ) -> None:
        """Fill in the pixels of a layer that are not valid yet.

        Args:
            label: position of the time label.
            band: position of the band.
            numbers: (y, x); of `stored`, or physical values where that is None.
            valid: (y, x) mask.
            stored: how the numbers become physical.
        """
        whole = is_all_valid(valid)
        if not whole and not valid.any():
            return
        before, room = self._masks[label][band], self.values[label, band]
        if before is None:
            to_physical(numbers, stored, room)
            if not whole:
                room[~valid] = 0
            self._masks[label][band] = all_valid(room.shape) if whole else valid
            return
        new = valid & ~before
        found = np.empty(room.shape, room.dtype)
        to_physical(numbers, stored, found)
        np.copyto(room, found, where=new)
        both = before | new
        self._masks[label][band] = all_valid(room.shape) if both.all() else both

    def validity(self) -> Mask:
        """Return the mask, once all is put; what is not valid has become 0."""
        layers = [mask for label in self._masks for mask in label]
        if all(mask is not None and known_everywhere(mask) for mask in layers):
            return all_valid(self.values.shape)
        valid = np.empty(self.values.shape, np.bool_)
        for label, masks in enumerate(self._masks):
            for band, mask in enumerate(masks):
                valid[label, band] = False if mask is None else mask
                if mask is None:
                    self.values[label, band] = 0
        return valid


def to_physical(numbers: Values, band: AssetBand | None, out: Values) -> None:
    """Write numbers * scale + offset of a band into `out`, or the numbers where it has none.

    Computed in the floating type of the numbers, rounded after each operation.
    """
    if band is None or not band.is_scaled:
        out[...] = numbers
        return
    kind = compute_dtype(numbers.dtype)
    if out.dtype != kind:
        out[...] = numbers.astype(kind) * kind.type(band.scale) + kind.type(band.offset)
        return
    np.multiply(numbers, kind.type(band.scale), out=out, dtype=kind)
    np.add(out, kind.type(band.offset), out=out)
