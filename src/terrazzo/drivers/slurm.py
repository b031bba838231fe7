"""Slurm: a run as an array of jobs, each of which takes its share, and one that puts it together.

The jobs know each other by the folder of the run alone. What they do stands in two scripts in that
folder, which a person can read, keep and submit without us.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.order import Where
from terrazzo.drivers.pool import ClusterUnusable
from terrazzo.drivers.slurm_environment import exported
from terrazzo.drivers.slurm_programs import Submitting, call
from terrazzo.drivers.slurm_waits import NEVER, Waits
from terrazzo.drivers.watching.report import COUNTED, Facts, reported
from terrazzo.drivers.watching.status import STATUS
from terrazzo.errors import ArgumentInvalid, OutputFailed
from terrazzo.progress import pause
from terrazzo.storage.writers.files import output_failed, whole_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from terrazzo.drivers.depot import Depot
    from terrazzo.drivers.job import Workspace
    from terrazzo.drivers.order import Order, Parts
    from terrazzo.drivers.watching.speeds import Outlook
    from terrazzo.progress import Progress

R = TypeVar("R")

FOLDER = ".slurm"
LOOK_S = 2.0
"""How often Slurm is asked how its jobs are."""
ROUNDS = 5
"""How often what is left is submitted at most."""
IDLE = 2
"""Rounds on end in which nothing is made, after which no other one follows. One may be bad luck: a
scheduler that is killed forgets jobs that it has not written down."""
PAUSE_S = 5.0
_PATH = re.compile(r"[\w./+=@:,-]+")
"""Paths that mean the same to Slurm, to a shell and to us."""
_TIME = re.compile(r"\d+|\d+:\d\d(:\d\d)?|\d+-\d+(:\d\d){0,2}")
_WORD = re.compile(r"[\w.+=@:,-]+")
AWAY_S = 300.0
"""For so long Slurm may not answer while its jobs are watched: it may be restarted meanwhile."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """What is asked of Slurm."""

    tasks: int
    """Of the array; as many work at a time, at most."""
    threads: int
    """Cores of each."""
    memory_bytes: int
    """Of each, for blocks; Slurm is asked for some more, as a program is not only blocks."""
    time: str = ""
    """Longest time of each, as `sbatch --time` takes it."""
    partition: str = ""
    """Where to run."""
    account: str = ""
    """Who pays."""
    name: str = "terrazzo"
    """Beginning of the names of the jobs."""

    def __post_init__(self) -> None:
        """Check what will stand in a script.

        Raises:
            ArgumentInvalid: names what would be right.
        """
        if self.time and not _TIME.fullmatch(self.time):
            raise ArgumentInvalid(
                f"{self.time!r} is no time for Slurm. Give minutes, 1:00:00 or 2-12:00:00."
            )
        for name, word in (("partition", self.partition), ("account", self.account)):
            if word and not _WORD.fullmatch(word):
                raise ArgumentInvalid(f"{word!r} is no name of a {name}. `sinfo` lists partitions.")


class Slurm:
    """A run as jobs of Slurm."""

    def __init__(
        self,
        folder: Path,
        command: Sequence[str],
        wanted: Allocation,
        *,
        run: Depot | None = None,
    ) -> None:
        """Describe a run; nothing is submitted yet.

        Args:
            folder: for scripts and what jobs say; all nodes of the cluster must have it.
            command: `terrazzo` with its options, as each node is to call it.
            wanted: what is asked of Slurm.
            run: where the run is kept; in the folder, unless told.

        Raises:
            ArgumentInvalid: the folder's path means something else to Slurm or to a shell.
        """
        self.folder = folder.absolute()
        if not _PATH.fullmatch(str(self.folder)):
            raise ArgumentInvalid(
                f"The path {str(self.folder)!r} is not safe in a script for Slurm. Choose a folder "
                "with -o whose path has only letters, digits and . _ - + = @ : , /"
            )
        self._command, self._wanted = tuple(command), wanted
        self.run = FolderDepot(self.folder) if run is None else run
        self._jobs: dict[str, str] = {}
        self._submitting = Submitting(self.folder / FOLDER / "submitting")
        self.waits = Waits()

    def scripts(self, tasks: int, *, stages: bool) -> dict[str, str]:
        """Return what is submitted for so many tasks, in the order of the work.

        `prepare` carries out the stages of the graph, if it has any; `work`, the array, computes
        blocks; `finish` puts the results together.
        """
        prepare = {"prepare": self._script("prepare", "--prepare")} if stages else {}
        work = self._script("work", array=f"0-{tasks - 1}")
        return {**prepare, "work": work, "finish": self._script("finish", "--finish")}

    def _script(self, what: str, *options: str, array: str = "") -> str:
        wanted = self._wanted
        asked = {
            "job-name": f"{wanted.name}-{what}",
            "array": array,
            "ntasks": "1",
            "cpus-per-task": str(wanted.threads),
            "mem": f"{-(-wanted.memory_bytes // 2**20) + PROGRAM_MB}M",
            "time": wanted.time,
            "partition": wanted.partition,
            "account": wanted.account,
            "chdir": str(self.folder),
            "output": f"{FOLDER}/{what}-%{'A_%a' if array else 'j'}.log",
            "open-mode": "append",
            "export": ",".join(exported(os.environ)),
        }
        lines = [f"#SBATCH --{name}={value}" for name, value in asked.items() if value]
        call = shlex.join([*self._command, "worker", str(self.run), *options])
        return "\n".join(
            [
                "#!/bin/sh",
                *lines,
                "#SBATCH --requeue",
                "",
                "# One thread for each library: the blocks have the cores.",
                "export OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 OMP_NUM_THREADS=1",
                f"exec {call}",
                "",
            ]
        )

    def submit(self, tasks: int, *, stages: bool) -> None:
        """Hand the jobs of a run to Slurm; they have what is `exported` of this environment.

        Args:
            tasks: of the array.
            stages: whether something must be found in all pixels first.

        Raises:
            ClusterUnusable: Slurm is not here, or refuses.
            OutputFailed: the scripts cannot be written.
        """
        after: tuple[str, ...] = ()
        self.waits.begin()
        scripts = self.written(tasks, stages=stages)
        self._submitting.take_back()
        for name, path in scripts.items():
            self._jobs[name] = self._submitting.submit(path, *after)
            # What is left when some tasks have failed is for the last job to do, or to tell.
            how = "afterok" if name == "prepare" else "afterany"
            after = (f"--dependency={how}:{self._jobs[name]}",)

    def written(self, tasks: int, *, stages: bool) -> dict[str, Path]:
        """Write the scripts into the folder; return where they are, in the order of their work.

        Raises:
            OutputFailed: they cannot be written.
        """
        scripts = self.scripts(tasks, stages=stages)
        try:
            (self.folder / FOLDER).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_failed(self.folder / FOLDER, error) from error
        paths = {}
        for name, text in scripts.items():
            paths[name] = self.folder / FOLDER / f"{name}.sbatch"
            with whole_file(paths[name]) as part:
                part.write_text(text)
        return paths

    @property
    def tasks(self) -> int:
        """How many tasks of the array are wanted at most."""
        return self._wanted.tasks

    @property
    def jobs(self) -> tuple[str, ...]:
        """Slurm's numbers of what was submitted last."""
        return tuple(self._jobs.values())

    def states(self) -> Counter[str]:
        """Return how many tasks are in which state; what is over does not count.

        Raises:
            ClusterUnusable: Slurm does not answer.
        """
        try:
            told = call(
                ("squeue", "--noheader", "--array", "--format=%T|%r|%i", f"--jobs={self._named()}")
            )
        except ClusterUnusable as error:
            if "Invalid job id" in str(error):  # over for so long that it is forgotten
                return Counter()
            raise
        return self.waits.look(told)

    def spare(self) -> None:
        """Take back the tasks that have not begun: nothing is left for them to do."""
        with contextlib.suppress(ClusterUnusable):
            call(("scancel", "--state=PENDING", self._jobs["work"]))

    def _named(self) -> str:
        return ",".join(self._jobs.values())

    def cancel(self) -> None:
        """Take back what was submitted."""
        if self._jobs:
            with contextlib.suppress(ClusterUnusable):
                call(("scancel", *self._jobs.values()))
        with contextlib.suppress(ClusterUnusable):
            self._submitting.take_back()

    @property
    def ended(self) -> bool:
        """Whether the last job has begun, so that all that come before it are over."""
        last = self._jobs.get("finish", "")
        return (self.folder / FOLDER / f"finish-{last}.log").exists()


PROGRAM_MB = 1000
"""Memory of a worker besides its blocks, MiB: its libraries, and tiles that it keeps decoded."""


def run(
    order: Order[R],
    workspace: Workspace,
    slurm: Slurm,
    progress: Progress,
    *,
    follow: bool = True,
    outlook: Outlook | None = None,
) -> R | None:
    """Have a run or an extraction done by Slurm, and watch it until its results are there.

    What jobs that were lost have left is submitted again, after a pause, as long as that helps.
    Whoever stops watching cancels the jobs; what they have made is kept.

    Args:
        order: what is run.
        workspace: where its collections are.
        slurm: with what.
        progress: told about its parts; may raise `Cancelled` to stop.
        follow: whether to wait; without, the run goes on by itself, and None is returned.
        outlook: what it is expected to take; told before, and compared after.

    Raises:
        GraphInvalid, ArgumentInvalid, NoDataAvailable, PlanTooLarge: before anything is submitted.
        ClusterUnusable: Slurm is not here, refuses, or does not answer.
        OutputFailed: the folder cannot be written to.
        RunIncomplete: parts failed, or Slurm can never start the jobs as they were asked for.
    """
    where = Where(slurm.folder, slurm.run)
    parts, stages = order.by.begun(order, workspace, where, progress)
    facts = Facts(workspace.home, order.about.title, "slurm", slurm.tasks, outlook)
    watched: AbstractContextManager[Progress] = contextlib.nullcontext(progress)
    if parts.unit in COUNTED:
        watched = reported(progress, slurm.run, facts)
    with watched as told:
        if not carried_out(slurm, parts, told, stages=stages, follow=follow):
            slurm.run.delete([STATUS])  # from now on workers tell, and what they have made
            return None
        # Everything is there as a rule; what is not is tried here, which says what is wrong.
        return order.by.finished(order, workspace, where, told)


def carried_out(
    slurm: Slurm, parts: Parts, progress: Progress, *, stages: bool = False, follow: bool = True
) -> bool:
    """Submit a run and watch it, and what lost jobs have left once more, as long as that helps.

    Args:
        slurm: with what.
        parts: what is to be made.
        progress: told about them; may raise `Cancelled` to stop, which cancels the jobs.
        stages: whether something must be found in all pixels first.
        follow: whether to wait; without, False is returned once the jobs are submitted.

    Raises:
        ClusterUnusable: Slurm is not here, refuses, or does not answer.
        OutputFailed: the folder cannot be written to.
        RunIncomplete: Slurm has only tasks that can never start as they were asked for.
    """
    idle = 0
    for attempt in range(ROUNDS):
        left = parts.count - parts.there()
        if left or stages:
            try:
                slurm.submit(_tasks(slurm, parts.count, left), stages=stages)
                if not follow:
                    return False
                _watch(slurm, parts, progress)
            except BaseException:
                slurm.cancel()
                raise
        after = parts.count - parts.there()
        # Where only a stage can say how many parts there are, the last job tells by its log.
        lost = stages and not parts.count and not slurm.ended
        idle = 0 if after < left else idle + 1
        over = not lost and (after == 0 or parts.aside() >= after)
        if over or idle == IDLE or attempt == ROUNDS - 1:
            break
        pause(PAUSE_S * 2**attempt, progress)
    return True


def scripts(
    order: Order[R], workspace: Workspace, slurm: Slurm, progress: Progress
) -> dict[str, Path]:
    """Write what Slurm would be given, and submit nothing; return the scripts in their order.

    Raises:
        As for `run`, but for Slurm, which is not asked.
    """
    where = Where(slurm.folder, slurm.run)
    parts, stages = order.by.begun(order, workspace, where, progress)
    return slurm.written(_tasks(slurm, parts.count, parts.count - parts.there()), stages=stages)


def _tasks(slurm: Slurm, count: int, left: int) -> int:
    """Return how many tasks find work; where nothing is known yet, all that may be."""
    return max(min(slurm.tasks, left), 1) if count else slurm.tasks


def _watch(slurm: Slurm, parts: Parts, progress: Progress) -> None:
    """Tell of what is made until the jobs are over.

    Raises:
        ClusterUnusable: Slurm does not answer, or the job has failed that the others wait for.
        RunIncomplete: there are only tasks that can never start as they were asked for.
    """
    with progress:
        progress.start(parts.count, parts.unit)
        known = parts.there()
        progress.resume(known)
        while states := _answered(slurm, progress):
            if states[NEVER]:
                raise ClusterUnusable(
                    "The job that the others wait for has failed, so they can never start; they "
                    f"are cancelled. Its log is in {slurm.folder / FOLDER}."
                )
            slurm.waits.push()
            slurm.waits.tell(states, progress)
            there = _counted(parts, known)
            parts.tell(progress)
            if there > known:
                progress.advance(there - known)
                known = there
                if there == parts.count:  # a task whose node was lost comes back after minutes
                    slurm.spare()
            pause(LOOK_S, progress)


def _counted(parts: Parts, known: int) -> int:
    """Return how many parts are there; as many as before where that is not told: jobs go on."""
    try:
        return parts.there()
    except OutputFailed:
        return known


def _answered(slurm: Slurm, progress: Progress) -> Counter[str]:
    """Ask how the jobs are; again for a while, where Slurm is away: they go on without it.

    Raises:
        ClusterUnusable: it stays away.
    """
    patient_until = time.monotonic() + AWAY_S
    while True:
        try:
            return slurm.states()
        except ClusterUnusable:
            if time.monotonic() > patient_until:
                raise
        pause(LOOK_S, progress)
