"""Why tasks of Slurm have not begun, in its own words, and what is done about that.

Most reasons pass. Some tasks Slurm has put aside itself, which must be let go; some can never start
as they were asked for, and whoever waits for them is told so.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Final

from terrazzo.drivers.pool import ClusterUnusable
from terrazzo.drivers.slurm_programs import call
from terrazzo.errors import RunIncomplete

if TYPE_CHECKING:
    from terrazzo.progress import Progress

NEVER: Final = "NEVER"
"""State of jobs that wait for one that has failed."""
_LATER: Final = "LATER"
"""State of tasks that Slurm begins again only after minutes, as their node was lost."""
_HELD: Final = "HELD"
"""State of tasks that Slurm has put aside, as a node or the scheduler died under their start, or as
no node had what they need at some moment."""
_VAIN: Final = "VAIN"
"""State of tasks that can never start as they were asked for."""
_BEHIND: Final = "BEHIND"
"""State of jobs that wait for others to be over."""
_WAIT: Final = frozenset(
    {_LATER, _HELD, _VAIN, _BEHIND, "PENDING", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
)
_REASONS: Final = (
    (NEVER, re.compile(r"DependencyNeverSatisfied")),
    (_BEHIND, re.compile(r"Dependency")),
    (_LATER, re.compile(r"BeginTime")),
    (_HELD, re.compile(r".*requeued[\W_](in[\W_])?held.*|JobHoldMaxRequeue|BadConstraints")),
    (
        _VAIN,
        re.compile(
            r"PartitionTimeLimit|Invalid(Account|QOS)|(Account|QOS)NotAllowed|QOSMin\w+"
            r"|(Assoc|QOS)Max\w+Per(Job|Node)(Limit)?"
        ),
    ),
)
"""How a state is known by its reason. PartitionNodeLimit is none of them: nodes may be down."""
_USUAL: Final = frozenset({"None", "Dependency", "BeginTime"})
_HELD_BY: Final = {
    "JobHeldUser": "`scontrol release {}` lets them start",
    "JobHeldAdmin": "the administrators of the cluster let them start",
}
HURRIES, HURRIED_AT_ONCE = 3, 20
"""How often a task that waits since its node was lost is let begin, and how many in one look."""
RELEASES, RELEASED_AT_ONCE = 6, 200
"""How often a task is let go that Slurm has put aside, and how many in one look."""
REST_S = 2.0
"""How long a task stays held that was let go once before; each time twice as long."""
VAIN_S = 60.0
"""For so long nothing but tasks that can never start is waited for: limits may be changed."""


class Waits:
    """The tasks of a run that have not begun."""

    def __init__(self) -> None:
        """Know of none."""
        self._told: set[str] = set()
        self.begin()

    def begin(self) -> None:
        """Know that jobs were submitted, none of which has begun."""
        self._begun = False
        self._hurried: Counter[str] = Counter()
        self._released: dict[str, tuple[int, float]] = {}
        self._tasks: dict[str, dict[str, str]] = {}
        self._vain_since: float | None = None

    def look(self, told: str) -> Counter[str]:
        """Take what Slurm tells of tasks, and return how many are in which state.

        Args:
            told: a line of each task, `STATE|REASON|NUMBER`.
        """
        tasks = [(*line.split("|"), "", "")[:3] for line in told.splitlines()]
        found: Counter[str] = Counter()
        self._tasks = {}
        # What Slurm has put aside was begun, too: let go, it would wait for minutes.
        self._begun = self._begun or any(
            state != "PENDING" or _meant(reason) == _HELD for state, reason, _ in tasks
        )
        for state, reason, task in tasks:
            kind = self._kind(reason, task) or state
            found[kind] += 1
            if kind in _WAIT:
                self._tasks.setdefault(kind, {})[task] = reason
        return found

    def _kind(self, reason: str, task: str) -> str:
        """Return the state that a task's reason means now; empty where it means nothing more."""
        kind = _meant(reason)
        if kind == _LATER and not self._begun:  # it is the user's wish
            return ""
        given_up = kind == _HELD and self._released.get(task, (0, 0.0))[0] >= RELEASES
        return _VAIN if given_up else kind

    def push(self) -> None:
        """Let tasks start that need somebody for that, as of the last look."""
        with contextlib.suppress(ClusterUnusable):
            self._release()
        with contextlib.suppress(ClusterUnusable):
            self._hurry()

    def _release(self) -> None:
        """Let tasks go that Slurm holds, and no other: those that a person holds stay held.

        Not for ever, and each time after a longer while: where no node can start them, that may
        pass, or somebody must see to it.
        """
        now = time.monotonic()
        held = self._tasks.get(_HELD, {})
        due = (task for task in held if self._released.get(task, (0, now))[1] <= now)
        tasks = tuple(islice(due, RELEASED_AT_ONCE))
        for task in tasks:
            times = self._released.get(task, (0, now))[0]
            self._released[task] = times + 1, now + REST_S * 2**times
        if tasks:
            call(("scontrol", "release", ",".join(tasks)))

    def _hurry(self) -> None:
        """Let tasks begin now that wait since their node was lost.

        Not all of very many at a time, and none again and again: its node may fail each time. They
        begin by themselves, if later.
        """
        due = (task for task in self._tasks.get(_LATER, {}) if self._hurried[task] < HURRIES)
        for task in islice(due, HURRIED_AT_ONCE):
            self._hurried[task] += 1
            call(("scontrol", "update", f"jobid={task}", "starttime=now"))

    def tell(self, states: Counter[str], progress: Progress) -> None:
        """Say once of each reason why nothing is at work, and no more wait where that is in vain.

        Args:
            states: of the last look.
            progress: told of it.

        Raises:
            RunIncomplete: for a while there has been nothing but tasks that can never start.
        """
        now = time.monotonic()
        if not states[_VAIN] or not states.keys() <= {_VAIN, _BEHIND}:
            self._vain_since = None
        elif self._vain_since is None:
            self._vain_since = now
        if states.keys() <= _WAIT:
            for tasks in self._tasks.values():
                for task, reason in tasks.items():
                    self._say(reason, task, progress)
        if self._vain_since is not None and now - self._vain_since >= VAIN_S:
            raise self._in_vain()

    def _say(self, reason: str, task: str, progress: Progress) -> None:
        word = reason.partition(",")[0]  # what follows are nodes, which come and go
        if word in self._told or word in _USUAL:
            return
        self._told.add(word)
        if word in _HELD_BY:
            way = _HELD_BY[word].format(task.partition("_")[0])
            progress.note(f"Somebody holds tasks in Slurm ({reason}): {way}.")
        elif task in self._tasks.get(_VAIN, {}):
            progress.note(f"Slurm cannot start tasks as they were asked for: {reason}.")
        else:
            progress.note(f"Slurm lets tasks wait: {reason}.")

    def _in_vain(self) -> RunIncomplete:
        tasks = self._tasks[_VAIN]
        reasons = Counter(tasks.values())
        named = ", ".join(f"{reason} ({count} tasks)" for reason, count in sorted(reasons.items()))
        message = (
            f"Slurm has tasks that it cannot start: {named}. They are cancelled, and what was made "
            "is kept. Ask for what the cluster gives (--time, --memory, --cores, --partition, "
            "--account; `scontrol show partition` tells limits), or have its administrators see "
            "to its nodes; then give the same command again, and it goes on with the rest."
        )
        return RunIncomplete(message, ClusterUnusable(message))


def _meant(reason: str) -> str:
    """Return the state that a reason means; empty where it means nothing more."""
    return next((kind for kind, words in _REASONS if words.fullmatch(reason)), "")
