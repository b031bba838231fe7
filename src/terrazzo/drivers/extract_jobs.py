"""An extraction as jobs of Slurm: each takes its share of the scenes, and then helps others.

They hand over what they compute as files (see `handed`); one process after them takes it into the
table. As for blocks there are no locks: two that compute one scene waste a scene.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.extract import begun, extracted
from terrazzo.drivers.extraction.handed import failed_there, hand_over, handed_over, note_of
from terrazzo.drivers.extraction.prepared import weighed
from terrazzo.drivers.extraction.scenes import states, undone
from terrazzo.drivers.extraction.work import by_threads
from terrazzo.drivers.slurm import carried_out, written
from terrazzo.drivers.stages import Means
from terrazzo.errors import RunIncomplete

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from terrazzo.drivers.extract import ExtractResult
    from terrazzo.drivers.extraction.order import ExtractOrder
    from terrazzo.drivers.extraction.scenes import Scene
    from terrazzo.drivers.job import Workspace
    from terrazzo.drivers.shares import Share
    from terrazzo.drivers.slurm import Slurm
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


def by_slurm(
    order: ExtractOrder,
    workspace: Workspace,
    slurm: Slurm,
    progress: Progress,
    *,
    follow: bool = True,
) -> ExtractResult | None:
    """Have an extraction done by Slurm, and watch it until its table is there.

    Args:
        order: what is extracted.
        workspace: where its collections are.
        slurm: with what.
        progress: told about the scenes; may raise `Cancelled` to stop.
        follow: whether to wait; without, it goes on by itself, and None is returned.

    Raises:
        As for `extract`; and ClusterUnusable: Slurm is not here, refuses, or does not answer.
    """
    parts = _submitted(order, workspace, slurm.folder, progress)
    if not carried_out(slurm, parts, progress, follow=follow):
        return None
    return finished(order, workspace, slurm.folder, progress)


def scripts(
    order: ExtractOrder, workspace: Workspace, slurm: Slurm, progress: Progress
) -> dict[str, Path]:
    """Write what Slurm would be given, and submit nothing; return the scripts in their order.

    Raises:
        As for `by_slurm`, but for Slurm, which is not asked.
    """
    return written(slurm, _submitted(order, workspace, slurm.folder, progress))


def _submitted(
    order: ExtractOrder, workspace: Workspace, folder: Path, progress: Progress
) -> SceneParts:
    """Begin an extraction, or go on with it: weigh the polygons, and see what is to be done."""
    means = Means(order.block, order.pool, progress, FolderDepot(folder))
    todo = begun(order.given(workspace), folder, means)
    for scene in todo:  # what failed is tried again
        note = note_of(folder, scene)
        if note.exists() and not any(handed_over(folder, (scene,))):
            note.unlink(missing_ok=True)
    order.write(folder)
    return SceneParts(folder, todo)


def finished(
    order: ExtractOrder, workspace: Workspace, folder: Path, progress: Progress
) -> ExtractResult:
    """Take what was handed over into the table, and compute what is left.

    Raises:
        As for `extract`.
    """
    means = Means(order.block, order.pool, progress, FolderDepot(folder))
    return extracted(order.given(workspace), folder, means)


def help_with(
    order: ExtractOrder, workspace: Workspace, folder: Path, share: Share, progress: Progress
) -> int:
    """Compute the scenes of a share, then those that are missing of others; return how many.

    Raises:
        GraphInvalid, ArgumentInvalid, NoDataAvailable, PlanTooLarge: it cannot be made.
        OutputFailed: nothing can be handed over.
        RunIncomplete: scenes failed.
    """
    means = Means(order.block, order.pool, progress, FolderDepot(folder))
    extraction, _ = order.given(workspace).prepared(folder, means)
    work = extraction.work(folder)
    scenes = extraction.cut.scenes(progress)
    _, cells = weighed(work, scenes, progress)
    todo = undone(folder, states(folder), scenes, skip_bad=order.job.skip_bad)
    made = failed = 0
    with progress:
        progress.start(sum(cells[scene.key] for scene in todo), "blocks")
        for outcome in by_threads(work, _Missing(folder, todo, share), lambda _: None, progress):
            hand_over(folder, outcome)
            if outcome.error:
                failed += 1
                progress.fail(f"scene {outcome.scene.key}", outcome.error, outcome.reason)
            else:
                made += 1
    if failed:
        raise RunIncomplete(
            f"{failed} scenes failed; {made} were handed over in {folder}. When the reasons are "
            "mended, give the command that began the extraction once more."
        )
    return made


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
