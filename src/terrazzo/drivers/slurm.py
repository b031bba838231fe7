"""Slurm: a run as an array of jobs, each of which takes its share, and one that puts it together.

The jobs know each other by the folder of the run alone. What they do stands in two scripts in that
folder, which a person can read, keep and submit without us.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from terrazzo.drivers import batch
from terrazzo.drivers.batch import folders_of, output_nodes
from terrazzo.drivers.executors import describe_run
from terrazzo.drivers.pool import ClusterUnusable
from terrazzo.drivers.record import BLOCKS, RESULTS, RunRecord
from terrazzo.drivers.results import output_format
from terrazzo.drivers.stages import stage_plans
from terrazzo.engine import check_memory, read_version
from terrazzo.engine.bound import Pending
from terrazzo.errors import ArgumentInvalid
from terrazzo.storage.writers.files import output_failed, whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from terrazzo.drivers.batch import RunResult
    from terrazzo.drivers.job import Workspace
    from terrazzo.drivers.order import Order
    from terrazzo.engine import Plan
    from terrazzo.geo.blocks import Blocks
    from terrazzo.progress import Progress

FOLDER = ".slurm"
LOOK_S = 2.0
"""How often Slurm is asked how its jobs are."""
ROUNDS = 5
"""How often what is left is submitted again, where a round has made some of it."""
PAUSE_S = 5.0
NEVER = "NEVER"
"""State of jobs that wait for one that has failed."""
_TOLD = 400
"""Characters of Slurm's words that are repeated."""
_PATH = re.compile(r"[\w./+=@:,-]+")
"""Paths that mean the same to Slurm, to a shell and to us."""
_TIME = re.compile(r"\d+|\d+:\d\d(:\d\d)?|\d+-\d+(:\d\d){0,2}")
_WORD = re.compile(r"[\w.+=@:,-]+")
_OVER = 60
"""Seconds that one of Slurm's programs may take."""


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

    def __init__(self, folder: Path, command: Sequence[str], wanted: Allocation) -> None:
        """Describe a run; nothing is submitted yet.

        Args:
            folder: of the run; all nodes of the cluster must see it.
            command: `terrazzo` with its options, as each node is to call it.
            wanted: what is asked of Slurm.

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
        self._jobs: dict[str, str] = {}

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
            "job-name": f"terrazzo-{what}",
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
        }
        lines = [f"#SBATCH --{name}={value}" for name, value in asked.items() if value]
        call = shlex.join([*self._command, "worker", str(self.folder), *options])
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
        """Hand the jobs of a run to Slurm; they have the environment of this process.

        Args:
            tasks: of the array.
            stages: whether something must be found in all pixels first.

        Raises:
            ClusterUnusable: Slurm is not here, or refuses.
            OutputFailed: the scripts cannot be written.
        """
        after: tuple[str, ...] = ()
        for name, path in self.written(tasks, stages=stages).items():
            found = _call(("sbatch", "--parsable", "--export=ALL", *after, str(path)))
            self._jobs[name] = found.strip().partition(";")[0]
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
            told = _call(
                ("squeue", "--noheader", "--array", "--format=%T|%r", f"--jobs={self._named()}")
            )
        except ClusterUnusable as error:
            if "Invalid job id" in str(error):  # over for so long that it is forgotten
                return Counter()
            raise
        found: Counter[str] = Counter()
        for line in told.splitlines():
            state, _, reason = line.partition("|")
            found[NEVER if reason == "DependencyNeverSatisfied" else state] += 1
        return found

    def _named(self) -> str:
        return ",".join(self._jobs.values())

    def cancel(self) -> None:
        """Take back what was submitted."""
        if self._jobs:
            with contextlib.suppress(ClusterUnusable):
                _call(("scancel", *self._jobs.values()))


PROGRAM_MB = 1000
"""Memory of a worker besides its blocks, MiB: its libraries, and tiles that it keeps decoded."""


def _call(command: tuple[str, ...]) -> str:
    """Run one of Slurm's programs and return what it prints.

    Raises:
        ClusterUnusable: it is not there, fails, or does not answer.
    """
    if shutil.which(command[0]) is None:
        raise ClusterUnusable(
            f"There is no {command[0]} here: this machine is not part of a Slurm cluster. Log in "
            "where jobs are submitted, write the script with --script-only, or choose another "
            "--executor."
        )
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and every word was checked
            command, capture_output=True, text=True, timeout=_OVER, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ClusterUnusable(
            f"{command[0]} did not answer within {_OVER} s. `sinfo` tells whether Slurm is well; "
            "then give the same command again."
        ) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[:_TOLD]
        raise ClusterUnusable(f"Slurm refuses ({command[0]}): {said}")
    return done.stdout


def run(
    order: Order, workspace: Workspace, slurm: Slurm, progress: Progress, *, follow: bool = True
) -> RunResult | None:
    """Have a run done by Slurm, and watch it until its results are there.

    What jobs that were lost have left is submitted again, after a pause, as long as that helps.
    Whoever stops watching cancels the jobs; what they have made is kept.

    Args:
        order: what is run.
        workspace: where its collections are.
        slurm: with what.
        progress: told about the blocks; may raise `Cancelled` to stop.
        follow: whether to wait; without, the run goes on by itself, and None is returned.

    Raises:
        GraphInvalid, ArgumentInvalid, NoDataAvailable, PlanTooLarge: before anything is submitted.
        ClusterUnusable: Slurm is not here, refuses, or does not answer.
        OutputFailed: the folder cannot be written to.
        RunIncomplete: blocks failed, or no job makes any progress.
    """
    counts, stages = begun(order, workspace, slurm.folder)
    for attempt in range(ROUNDS):
        left = sum(counts.values()) - kept_blocks(counts)
        if left or stages:
            slurm.submit(_tasks(slurm, counts, left), stages=stages)
            if not follow:
                return None
            try:
                _watch(slurm, counts, progress)
            except BaseException:
                slurm.cancel()
                raise
        after = sum(counts.values()) - kept_blocks(counts)
        if after == 0 or after >= left or _aside(counts) >= after:
            break
        time.sleep(PAUSE_S * 2**attempt)
    # Everything is there as a rule; what is not is tried here, which says what is wrong with it.
    return batch.run(
        order.job, workspace, slurm.folder, block=order.block, pool=order.pool, progress=progress,
        about=order.about,
    )  # fmt: skip


def scripts(order: Order, workspace: Workspace, slurm: Slurm) -> dict[str, Path]:
    """Write what Slurm would be given, and submit nothing; return the scripts in their order.

    Raises:
        As for `run`, but for Slurm, which is not asked.
    """
    counts, stages = begun(order, workspace, slurm.folder)
    left = sum(counts.values()) - kept_blocks(counts)
    return slurm.written(_tasks(slurm, counts, left), stages=stages)


def _tasks(slurm: Slurm, counts: Mapping[Path, int], left: int) -> int:
    """Return how many tasks find work; where nothing is known yet, all that may be."""
    return max(min(slurm.tasks, left), 1) if counts else slurm.tasks


def begun(order: Order, workspace: Workspace, folder: Path) -> tuple[dict[Path, int], bool]:
    """Begin a run in its folder, or go on with it.

    Returns:
        Where blocks are kept, and how many, and whether something is to be found in all pixels
        before.

    Raises:
        ArgumentInvalid: the format does not hold the result, or the folder holds another run.
        PlanTooLarge: a block needs more memory than a task has.
        OutputFailed: the folder cannot be written to.
    """
    inference = order.job.infer(workspace)
    counts = {}
    for node, place in folders_of(output_nodes(inference), folder).items():
        if inference.nodes[node].grid is None or inference.cube(node).result is Pending.PENDING:
            continue
        output_format(inference, node)
        plan = order.job.plan(inference, node)
        check_memory(plan, order.block, order.memory_bytes // order.threads)
        record = RunRecord.open(place, describe_run(plan, order.job, order.block))
        record.forgive()
        blocks = batch.blocks_of(plan, order.block)
        counts[place] = len(blocks)
        if record.results(read_version(plan, plan.window)) is None:
            (place / RESULTS).unlink(missing_ok=True)  # of images that have changed since
            _drop_changed(plan, blocks, record)
    held = {place.relative_to(folder).as_posix(): count for place, count in counts.items()}
    replace(order, blocks=held).write(folder)
    return counts, any(stage_plans(order.job, inference, n) for n in output_nodes(inference))


def _drop_changed(plan: Plan, blocks: Blocks, record: RunRecord) -> None:
    """Delete the blocks of a run whose images have changed: those that are there count as done."""
    versions = record.versions(len(blocks))
    for number in versions.nonzero()[0]:
        kept = int(versions[number])
        if kept != int(read_version(plan, blocks[int(number)]), 16):
            record.drop(int(number), kept)


def _watch(slurm: Slurm, counts: Mapping[Path, int], progress: Progress) -> None:
    """Tell of the blocks until the jobs are over.

    Raises:
        ClusterUnusable: Slurm does not answer, or a job can never start.
    """
    with progress:
        progress.start(sum(counts.values()), "blocks")
        known = kept_blocks(counts)
        progress.resume(known)
        while states := slurm.states():
            if states[NEVER]:
                raise ClusterUnusable(
                    "The job that the others wait for has failed, so they can never start; they "
                    f"are cancelled. Its log is in {slurm.folder / FOLDER}."
                )
            there = kept_blocks(counts)
            if there > known:
                progress.advance(there - known)
                known = there
            time.sleep(LOOK_S)


def kept_blocks(counts: Mapping[Path, int]) -> int:
    """Return how many blocks of a run there are; those of finished results count as all."""
    return sum(_kept(place, count) for place, count in counts.items())


def _kept(place: Path, count: int) -> int:
    if (place / RESULTS).exists():
        return count
    return int((RunRecord(place).versions(count) != 0).sum()) if (place / BLOCKS).is_dir() else 0


def _aside(counts: Mapping[Path, int]) -> int:
    """Return how many blocks were set aside."""
    return sum(len(RunRecord(place).aside()) for place in counts if (place / BLOCKS).is_dir())
