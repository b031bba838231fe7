"""What an extraction would do and cost, found out without a pixel."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from terrazzo.drivers.extraction.prepared import places, weighed
from terrazzo.drivers.extraction.scenes import states, undone
from terrazzo.engine import cost
from terrazzo.engine.demand import size_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from terrazzo.drivers.extraction.prepared import Extraction


@dataclass(frozen=True, slots=True)
class Outlook:
    """What an extraction would do and cost."""

    by: str
    """What is computed at a time: `date`, `image`, or `all` where dates cannot be taken apart."""
    scenes: int
    """Dates or images that the graph selects."""
    todo: int
    """Those that are still to be computed."""
    states: Mapping[str, int]
    """How many scenes the folder has, by state."""
    polygons: int
    """Polygons of the file."""
    inside: int
    """Those that cover a pixel."""
    grids: int
    """Grids on which pixels are weighed."""
    cells: int
    """Windows that are computed, of all scenes that are still to be."""
    pixels: int
    """Pixels under polygons, of one scene on every grid; shared ones count for each."""
    read_pixels: int
    """Pixels that are read for the scenes that are still to be computed, all bands, about."""
    read_bytes: int
    """Bytes of those once decoded, about."""
    memory_bytes: int
    """What all workers hold at most, whatever the number of scenes."""

    def text(self) -> str:
        """Return it for people."""
        kept = ", ".join(f"{count} {state}" for state, count in self.states.items())
        what = {"all": "all dates at once", "date": "dates", "image": "images"}[self.by]
        lines = (
            f"scenes    {self.scenes} ({what}), {self.todo} to do; in the folder: {kept or 'none'}",
            f"polygons  {self.polygons}, of which {self.inside} cover a pixel",
            f"grids     {self.grids}, with {self.pixels:,} pixels under polygons",
            f"cells     {self.cells:,} to do",
            f"read      about {self.read_pixels:,} pixels, {size_text(self.read_bytes)} decoded",
            f"memory    {size_text(self.memory_bytes)} at most, however many scenes there are",
        )
        return "\n".join(lines)


def foreseen(extraction: Extraction, aside: Path) -> Outlook:
    """Return what an extraction would do and cost.

    Args:
        extraction: looked at, and not begun.
        aside: a folder for what is worked out on the way.
    """
    work, progress = extraction.work(aside), extraction.means.progress
    scenes = extraction.cut.scenes(progress)
    covered, cells = weighed(work, scenes, progress)
    known = states(extraction.folder)
    skip_bad = extraction.given.job.skip_bad
    todo = undone(extraction.folder, known, scenes, skip_bad=skip_bad)
    counts = Counter((scene.grid, scene.window) for scene in todo)
    read_pixels = read_bytes = memory = pixels = 0
    size = extraction.means.pool.size
    for scene in places(scenes):
        begun = work.begin(scene)
        pixels += int(begun.weights.pixels.sum())
        costs = [cost(begun.plan, cell) for cell in begun.weights.cells]
        times = counts[scene.grid, scene.window]
        read_pixels += times * sum(one.read_pixels for one in costs)
        read_bytes += times * sum(one.read_bytes for one in costs)
        cell = max((one.memory_bytes for one in costs), default=0)
        memory = max(memory, work.held_bytes(begun) + size * cell)
    whole = any(scene.label < 0 and scene.image is None for scene in scenes)
    return Outlook(
        "all" if whole else extraction.cut.by,
        len(scenes),
        len(todo),
        dict(Counter(one.state for one in known)),
        len(covered),
        int(covered.sum()),
        len(places(scenes)),
        sum(cells[scene.key] for scene in todo),
        pixels,
        read_pixels,
        read_bytes,
        memory,
    )
