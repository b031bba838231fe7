"""An extraction as jobs elsewhere: each takes its share of the scenes, and then helps others.

They hand over what they compute as files (see `handed`); one process after them takes it into the
table. As for blocks there are no locks: two that compute one scene waste a scene.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terrazzo.drivers.extract import begun, extracted
from terrazzo.drivers.extraction.asked import Asked
from terrazzo.drivers.extraction.code import ParcelCode
from terrazzo.drivers.extraction.handed import failed_there, hand_over, handed_over, note_of
from terrazzo.drivers.extraction.prepared import Given, weighed
from terrazzo.drivers.extraction.samples import Sampling
from terrazzo.drivers.extraction.scenes import states, undone
from terrazzo.drivers.extraction.work import by_threads
from terrazzo.drivers.helped import counted
from terrazzo.drivers.order import Order
from terrazzo.drivers.stages import Means

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from terrazzo.drivers.extract import ExtractResult
    from terrazzo.drivers.extraction.scenes import Scene
    from terrazzo.drivers.extraction.work import Outcome
    from terrazzo.drivers.job import Workspace
    from terrazzo.drivers.order import Where
    from terrazzo.drivers.pool import Pool
    from terrazzo.drivers.shares import Share
    from terrazzo.progress import Progress


@dataclass(frozen=True, slots=True)
class SceneParts:
    """The scenes of an extraction that others compute."""

    folder: Path
    scenes: Sequence[Scene]
    """Those that were to be done when it was submitted."""
    unit: str = "scenes"

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.scenes)

    def there(self) -> int:
        """Return how many were handed over, or taken into the table already."""
        left = undone(self.folder, states(self.folder), self.scenes, skip_bad=True)
        return self.count - len(left) + sum(1 for _ in handed_over(self.folder, left))

    def aside(self) -> int:
        """Return how many could not be computed."""
        return failed_there(self.folder, self.scenes)

    def tell(self, progress: Progress) -> None:
        """Tell nothing: what scenes log comes with the table."""


@dataclass(frozen=True, slots=True)
class ByScenes:
    """A table that is made of scenes."""

    polygons: str
    """File of the polygons."""
    asked: Asked
    """What is made of the pixels."""
    by: str
    """`date` or `image`."""
    id_column: str
    """Attribute that names the polygons."""
    crs: str
    """CRS of the polygons where the file has none."""
    kind: str = "scenes"

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> ByScenes:
        """Return it out of JSON values.

        Raises:
            TypeError, LookupError, AttributeError: they are none.
        """
        asked = told["asked"] | {"statistics": tuple(told["asked"]["statistics"])}
        for name, kind in (("code", ParcelCode), ("sampling", Sampling)):
            asked[name] = None if asked[name] is None else kind(**asked[name])
        return cls(**{**told, "asked": Asked(**asked)})

    def told(self) -> dict[str, Any]:
        """Return it as JSON values."""
        told = asdict(self)
        del told["kind"]
        return told

    def begun(
        self, order: Order[Any], workspace: Workspace, where: Where, progress: Progress
    ) -> tuple[SceneParts, bool]:
        """Begin an extraction, or go on with it: weigh the polygons, and see what is to be done.

        Raises:
            As for `extract`.
        """
        means = Means(order.block, order.pool, progress, where.run)
        todo = begun(self._given(order, workspace), where.folder, means)
        for scene in todo:  # what failed is tried again
            note = note_of(where.folder, scene)
            if note.exists() and not any(handed_over(where.folder, (scene,))):
                note.unlink(missing_ok=True)
        order.write(where.run)
        return SceneParts(where.folder, todo), False

    def help_with(
        self,
        order: Order[Any],
        workspace: Workspace,
        where: Where,
        share: Share,
        progress: Progress,
    ) -> int:
        """Compute the scenes of a share, then those that are missing of others; return how many.

        Raises:
            GraphInvalid, ArgumentInvalid, NoDataAvailable, PlanTooLarge: it cannot be made.
            OutputFailed: nothing can be handed over.
            RunIncomplete: scenes failed.
        """
        folder, means = where.folder, Means(order.block, order.pool, progress, where.run)
        extraction, _ = self._given(order, workspace).prepared(folder, means)
        work = extraction.work(folder)
        scenes = extraction.cut.scenes(progress)
        _, cells = weighed(work, scenes, progress)
        todo = undone(folder, states(folder), scenes, skip_bad=order.job.skip_bad)
        missing = _Missing(folder, todo, share)

        def handed() -> Generator[tuple[str, Outcome]]:
            with progress:
                progress.start(sum(cells[scene.key] for scene in todo), "blocks")
                for outcome in by_threads(work, missing, lambda _: None, progress):
                    hand_over(folder, outcome)
                    yield f"scene {outcome.scene.key}", outcome

        return counted(handed(), "scenes", folder, progress)

    def finished(
        self, order: Order[Any], workspace: Workspace, where: Where, progress: Progress
    ) -> ExtractResult:
        """Take what was handed over into the table, and compute what is left.

        Raises:
            As for `extract`.
        """
        means = Means(order.block, order.pool, progress, where.run)
        return extracted(self._given(order, workspace), where.folder, means)

    def _given(self, order: Order[Any], workspace: Workspace) -> Given:
        polygons = Path(self.polygons)
        return Given(
            order.job, workspace, polygons, self.asked, self.by, self.id_column, self.crs
        )  # fmt: skip


def order_of(given: Given, block: int, pool: Pool) -> Order[ExtractResult]:
    """Return the order of what is asked for, for workers with the threads and memory of one."""
    scenes = ByScenes(
        str(given.polygons), given.asked, given.by, given.id_column, given.crs
    )  # fmt: skip
    return Order(given.job, block, pool.size, pool.memory_bytes, by=scenes)


@dataclass(frozen=True, slots=True)
class _Missing:
    """The scenes of a share in order, then those of others from the end; those not there yet."""

    folder: Path
    scenes: Sequence[Scene]
    share: Share

    def __iter__(self) -> Iterator[Scene]:
        count = len(self.scenes)
        ours = self.share.numbers(count)
        others = (*reversed(range(ours.stop, count)), *reversed(range(ours.start)))
        for number in (*ours, *others):
            scene = self.scenes[number]
            if not note_of(self.folder, scene).exists():
                yield scene
