"""How a graph is cut into scenes: by date, by image, or not at all."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from terrazzo.cube import Kind
from terrazzo.drivers.extraction.scenes import Scene
from terrazzo.drivers.ingestion.names import date_id, safe_name
from terrazzo.drivers.stages import settled
from terrazzo.engine import labels_read, pending_stages
from terrazzo.errors import ArgumentInvalid, NoDataAvailable, SpatialExtentEmpty
from terrazzo.geo.times import format_time, parse_time
from terrazzo.storage.blocks import BlockCache
from terrazzo.storage.raster import RasterReader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from terrazzo.cube import Cube, Dimension
    from terrazzo.drivers.job import Job, Workspace
    from terrazzo.drivers.stages import Means
    from terrazzo.engine import Bound, Inference, Plan
    from terrazzo.processes.registry import Labels
    from terrazzo.progress import Progress

BY: Final = ("date", "image")
WHOLE: Final = "all"
"""Key of the scene of a graph whose dates cannot be taken apart."""
_LOAD: Final = "load_collection"
_SHORT: Final = 16
_CACHE_SHARE: Final = 16
_TIMES_READ: Final = 2
"""How often an image may be read on the average where dates are computed one by one."""
_DATED: Final = (4, 10)
"""Letters of a year, and of a day; what is of another length may be a month, a week or a dekad."""


@dataclass(frozen=True, eq=False)
class Cutter:
    """A graph, and what its scenes are planned with; each process makes its own."""

    job: Job
    """The graph and where it is run."""
    workspace: Workspace
    """Where its collections are."""
    inference: Inference
    """The graph, for all images; its stages are settled, unless it is cut by image."""
    by: str
    """`date` or `image`."""
    whole: bool
    """Whether all dates are needed at once: code of a user sees the series of a polygon."""
    reader: RasterReader
    """Shared by the graphs of all images."""

    @property
    def result(self) -> Cube:
        """What the graph gives for all images, without pixels."""
        found: Cube = self.inference.cube(self.inference.graph.result).result
        return found

    @property
    def time(self) -> Dimension | None:
        """The dimension of dates of the result, if it has one."""
        return time_of(self.result)

    def scenes(self, progress: Progress) -> tuple[Scene, ...]:
        """Return what there is to do, in the order in which it is done.

        Args:
            progress: told of every image, where the graph is cut by them.

        Raises:
            ArgumentInvalid: there is nothing to cut by.
        """
        return self._by_image(progress) if self.by == "image" else self._by_date()

    def plan(self, scene: Scene, means: Means | None = None) -> Plan:
        """Plan a scene.

        Args:
            scene: one of `scenes`.
            means: what stages of the graph of an image are carried out with; None plans only what
                is known before them.

        Raises:
            SpatialExtentEmpty, NoDataAvailable: the graph leaves nothing of it.
        """
        if scene.image is None:
            labels: Labels = {}
            if scene.label >= 0 and self.time is not None:
                labels = {self.time.name: (scene.label,)}
            return self.job.plan(self.inference, labels=labels)
        inference = self._confined(scene.image)
        if means is not None:
            inference, _ = settled(self.job, inference, (inference.graph.result,), means)
        chosen = _labels_of_image(inference, scene.image)
        return self.job.plan(inference, labels=chosen)

    def _by_date(self) -> tuple[Scene, ...]:
        time = self.time
        plan = self.job.plan(self.inference)
        grid = plan.grid
        if time is not None and not self.whole:
            choices: list[Labels] = [{time.name: (n,)} for n in range(len(time.labels))]
            read = list(labels_read(self.inference, choices, grid=grid))
            if _can_be_apart(self.inference, read):
                taken: set[str] = set()
                return tuple(
                    self._date(str(label), number, one, plan, taken)
                    for number, (label, one) in enumerate(zip(time.labels, read, strict=True))
                )
        (read_at_all,) = labels_read(self.inference, ({},), grid=grid)
        items, version = _sources(self.inference, read_at_all)
        return (Scene(WHOLE, "", "", items, version, grid, plan.window),)

    def _date(
        self, label: str, number: int, read: Mapping[str, Labels], plan: Plan, taken: set[str]
    ) -> Scene:
        items, version = _sources(self.inference, read)
        day = day_of(label)
        key = _key(date_id(parse_time(label)) if day else label, taken)
        return Scene(key, day, label, items, version, plan.grid, plan.window, label=number)

    def _by_image(self, progress: Progress) -> tuple[Scene, ...]:
        first = _first_collection(self.inference)
        if first is None:
            raise ArgumentInvalid(
                "A graph is cut by image along the first collection of images that it loads with "
                "`load_collection`, and this one loads none. Extract it by date (--by date)."
            )
        collection = str(first.arguments["id"])
        items = dict.fromkeys(first.items)
        scenes = []
        taken: set[str] = set()
        progress.start(len(items), "images")
        for item in items:
            scene = self._image((collection, item), taken)
            if scene is not None:
                scenes.append(scene)
            progress.advance()
        return tuple(sorted(scenes, key=lambda scene: (scene.date, scene.key)))

    def _image(self, image: tuple[str, str], taken: set[str]) -> Scene | None:
        """Return the scene of an image; None where the graph leaves nothing of it."""
        try:
            inference = self._confined(image)
            plan = self.job.plan(inference)
        except (NoDataAvailable, SpatialExtentEmpty):
            return None
        source = _source_of(inference, image)
        if source is None or source.source is None:
            return None
        chosen = _labels_of_image(inference, image)
        if any(not positions for positions in chosen.values()):
            return None
        _, version = _sources(inference, _read(inference, chosen, plan))
        time = time_of(source.source.probe)
        label = str(time.labels[0]) if time is not None else ""
        key = _key(image[1], taken)
        day, place = day_of(label), (plan.grid, plan.window)
        return Scene(key, day, label, (image[1],), version, *place, image=image)

    def _confined(self, image: tuple[str, str]) -> Inference:
        return self.job.infer(self.workspace, self.reader, only=image)


def cutter(
    job: Job,
    workspace: Workspace,
    means: Means,
    *,
    by: str,
    whole: bool = False,
) -> tuple[Cutter, tuple[str, ...]]:
    """Return what cuts a graph, and the items that were left out of its stages.

    Args:
        job: the graph and where it is run.
        workspace: where its collections are.
        means: what its stages are carried out with; its folder has what they found before.
        by: `date` or `image`.
        whole: see `Cutter`.

    Raises:
        GraphInvalid, ArgumentInvalid, NoDataAvailable: bad input.
    """
    reader = RasterReader(BlockCache(cache_bytes(workspace, means)))
    inference = job.infer(workspace, reader)
    skipped: tuple[str, ...] = ()
    if by == "date":
        inference, skipped = settled(job, inference, (inference.graph.result,), means)
    job.plan(inference)  # a graph that gives no raster is refused here
    return Cutter(job, workspace, inference, by, whole, reader), skipped


def cache_bytes(workspace: Workspace, means: Means) -> int:
    """Return how much of its memory an extraction keeps decoded tiles in.

    Cells are made of whole tiles and come once, so only their surroundings are found again.
    """
    return min(workspace.cache_bytes, means.pool.memory_bytes // _CACHE_SHARE)


def day_of(label: str) -> str:
    """Return the first day of a label, `2024-05-15`; empty if it names no year, day or instant."""
    year, day = _DATED
    if len(label) != year and len(label) < day:
        return ""
    try:
        return format_time(parse_time(label))[:day]
    except ArgumentInvalid:
        return ""


def _key(name: str, taken: set[str]) -> str:
    """Return a name as that of a file, which no other scene has; adds it to those taken."""
    key = safe_name(name)
    if key in taken:
        key += "_" + hashlib.sha256(name.encode()).hexdigest()[:8]
    taken.add(key)
    return key


def time_of(cube: Cube) -> Dimension | None:
    """Return the dimension of dates of a cube, if it has one."""
    return next((one for one in cube.dimensions if one.kind is Kind.TEMPORAL), None)


def _can_be_apart(inference: Inference, read: Sequence[Mapping[str, Labels]]) -> bool:
    """Tell whether dates can be computed one by one, with no image read more than twice or so.

    An image may be shared by all of them where each needs that one date only of its source.
    """
    names = {name for one in read for name in one}
    for name in names:
        source = inference.nodes[name].source
        time = None if source is None else time_of(source.probe)
        if time is None:
            continue
        every = tuple(range(len(time.labels)))
        counted = [one[name].get(time.name, every) for one in read if name in one]
        at_most = _TIMES_READ * len({n for one in counted for n in one})
        if sum(map(len, counted)) > at_most and any(len(one) > 1 for one in counted):
            return False
    return True


def _sources(inference: Inference, read: Mapping[str, Labels]) -> tuple[tuple[str, ...], str]:
    """Return the ids of the images that are read, and a digest of them as they are now.

    Args:
        inference: the graph.
        read: labels by node, of the sources that are read; all of all sources where it is empty.
    """
    digest = hashlib.sha256(inference.stamp.encode())
    items: dict[str, None] = {}
    for name, bound in sorted(inference.nodes.items()):
        source, grid = bound.source, bound.grid
        if source is None or grid is None or (read and name not in read):
            continue
        labels = read.get(name, {})
        items.update(dict.fromkeys(source.items_of(labels)))
        told = name, replace(grid, left=0.0, top=0.0, height=0, width=0), _phase(grid)
        digest.update(repr(told).encode())
        digest.update(source.version(grid, grid.window, labels).encode())
    return tuple(items), digest.hexdigest()[:_SHORT]


def _phase(grid: Any) -> tuple[float, float]:
    """Return where the lattice of a grid lies, which does not change as its extent grows."""
    x, y = grid.left / grid.pixel_x, grid.top / grid.pixel_y
    return round(x - round(x), 3) + 0.0, round(y - round(y), 3) + 0.0


def _first_collection(inference: Inference) -> Bound | None:
    """Return the first collection of images of a graph, in the order in which nodes can run."""
    return next(
        (
            bound
            for bound in inference.nodes.values()
            if bound.process.id == _LOAD and bound.source is not None
        ),
        None,
    )


def _source_of(inference: Inference, image: tuple[str, str]) -> Bound | None:
    """Return the node that reads an image alone."""
    return next(
        (
            bound
            for bound in inference.nodes.values()
            if bound.process.id == _LOAD
            and bound.source is not None
            and tuple(bound.items) == image[1:]
        ),
        None,
    )


def _labels_of_image(inference: Inference, image: tuple[str, str]) -> Labels:
    """Return the dates of the result that are made of an image; no choice where it has none."""
    time = time_of(inference.cube(inference.graph.result).result)
    source = _source_of(inference, image)
    if time is None or source is None or len(time.labels) == 1:
        return {}
    choices: list[Labels] = [{time.name: (n,)} for n in range(len(time.labels))]
    read = labels_read(inference, choices)
    return {time.name: tuple(n for n, one in enumerate(read) if _reads(one.get(source.id)))}


def _read(inference: Inference, chosen: Labels, plan: Plan) -> Mapping[str, Labels]:
    """Return the labels by node that some labels of a result need; all before stages are done."""
    if pending_stages(inference, inference.graph.result):
        return {}
    (read,) = labels_read(inference, (chosen,), grid=plan.grid)
    return read


def _reads(labels: Labels | None) -> bool:
    """Tell whether anything is read of a source."""
    return labels is not None and all(len(chosen) for chosen in labels.values())
