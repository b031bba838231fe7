"""The weights of one set of polygons on whatever grids its images have."""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING, Final

from terrazzo.drivers.extraction.polygons import in_grid
from terrazzo.drivers.extraction.weights import FOLDER, VERSION, Weights
from terrazzo.progress import Progress
from terrazzo.storage.writers.files import output_failed, whole_file

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.drivers.extraction.polygons import Polygons, Shapes
    from terrazzo.geo.grid import Grid, Window
    from terrazzo.geo.runs import How

_SHORT: Final = 32


@dataclass(eq=False)
class Placed:
    """Polygons as they lie on grids; what was weighed once is found again on disk."""

    folder: Path
    """Of the extraction."""
    polygons: Polygons
    """What is weighed."""
    stamp: str
    """Changes when the polygons do."""
    how: How = "exact"
    """What a pixel weighs."""
    around: int = 1
    """Edge of the square of pixels that a point has."""
    block: int = 1024
    """Edge of a cell, pixels."""
    _known: dict[str, Weights] = field(default_factory=dict, init=False)
    _kept: Weights | None = field(default=None, init=False)

    def weights(
        self, grid: Grid, window: Window, workers: int = 1, progress: Progress | None = None
    ) -> Weights:
        """Return the weights on a grid.

        Args:
            grid: the pixels.
            window: only these of them.
            workers: threads that compute, where they are not there yet.
            progress: told about every cell, then.

        Raises:
            ArgumentInvalid: the edge of a block is no multiple of 256, or the like.
            OutputFailed: the folder cannot be written.
        """
        how = self.stamp, self.polygons.buffer_m, self.how, self.around, self.block
        told = repr((VERSION, astuple(grid), astuple(window), how))
        key = hashlib.sha256(told.encode()).hexdigest()[:_SHORT]
        if key not in self._known:
            note = self.folder / FOLDER / f"{key}.txt"
            found = note.read_text() if note.exists() else ""
            path = self.folder / FOLDER / found
            if found and (path / "polygons.arrow").exists():
                self._known[key] = Weights.opened(path)
            else:
                self._known[key] = self._weighed(grid, window, workers, progress)
                with whole_file(note) as part:
                    part.write_text(self._known[key].path.name)
        return self._known[key]

    def keep(self, weights: Weights) -> None:
        """Keep the cells of these weights in memory, and of no others."""
        if self._kept is weights:
            return
        if self._kept is not None:
            self._kept.keep(0)
        weights.keep()
        self._kept = weights

    def shapes(self, grid: Grid) -> Shapes:
        """Return the polygons in the CRS of a grid."""
        return in_grid(self.polygons.shapes(), self.polygons.crs, grid)

    def _weighed(
        self, grid: Grid, window: Window, workers: int, progress: Progress | None
    ) -> Weights:
        try:
            (self.folder / FOLDER).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_failed(self.folder / FOLDER, error) from error
        with progress or Progress() as shown:
            return Weights.of(
                self.folder, self.shapes(grid), grid, window,
                how=self.how, around=self.around, block=self.block,
                valid=not self.polygons.buffer_m and self.polygons.crs == grid.crs,
                workers=workers, progress=shown,
            )  # fmt: skip
